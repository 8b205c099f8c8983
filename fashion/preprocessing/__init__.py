"""From an image file to the pixels that the model sees."""
