"""Parsers of option text, with QEMU's syntax and messages: QemuOpts, keyval, getopt."""
