"""Internal snapshots of an image."""
