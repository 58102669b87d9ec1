"""Guest clusters: mapping, allocating, reading, writing, zeroing, resizing."""
