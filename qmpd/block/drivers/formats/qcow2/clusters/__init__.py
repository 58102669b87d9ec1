"""Guest clusters: allocating, reading, writing, zeroing, resizing."""
