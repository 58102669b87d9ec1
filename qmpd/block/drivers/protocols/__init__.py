"""Drivers that hold the bytes: files, null devices, NBD."""
