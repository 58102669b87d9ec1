"""Making an image."""
