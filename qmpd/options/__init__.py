"""Option text to trees, in QEMU's words: QemuOpts, keyval, getopt."""
