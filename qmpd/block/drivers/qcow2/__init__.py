"""The qcow2 format driver: the real on-disk format, read and written through the `file` child."""
