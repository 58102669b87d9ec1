"""The header of an image and its extensions."""
