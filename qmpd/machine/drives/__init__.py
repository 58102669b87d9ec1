"""Drives: -drive, and the human monitor's drive_add."""
