"""QMP as bytes, without I/O: JSON in QEMU's dialect, sessions, replies, events."""
