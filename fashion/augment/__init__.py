"""One file for each choice of the augment group."""
