"""Options that the system emulator and the storage daemon share."""
