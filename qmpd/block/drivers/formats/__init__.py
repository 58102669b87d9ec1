"""Drivers of image formats."""
