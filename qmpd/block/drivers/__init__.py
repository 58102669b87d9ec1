"""The block drivers: formats, protocols and filters."""
