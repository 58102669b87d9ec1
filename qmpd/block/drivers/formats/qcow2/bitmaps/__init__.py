"""Persistent dirty bitmaps in an image."""
