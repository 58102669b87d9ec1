"""qmpd-system: the options of the system emulator."""
