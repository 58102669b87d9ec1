"""The command lines: `qmpd` for people, and those of QEMU's own programs."""
