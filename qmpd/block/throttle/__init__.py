"""Limits of I/O: how much may go when, and who waits for it."""
