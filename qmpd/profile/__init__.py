"""Which QEMU a machine passes for, as data."""
