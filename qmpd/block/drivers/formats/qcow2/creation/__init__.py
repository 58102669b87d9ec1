"""Creating an image."""
