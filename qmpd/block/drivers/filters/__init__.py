"""Drivers that pass data through, and add to it."""
