"""The Keras backend of this process: which one runs, what is imported for it, and the memory and devices it uses."""
