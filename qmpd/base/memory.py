"""Whether there is memory left, for those who are about to use much of it."""

from __future__ import annotations

from typing import Final

PIECE: Final = 1 << 16
"""Bytes of a piece of memory that is found where much small was freed, too."""


def there_is(length: int) -> bool:
    """Whether so many bytes can be had now.

    Limits of the process's memory are what says no (RLIMIT_AS, RLIMIT_DATA, a system that
    promises no more than it has).  Asking costs a few microseconds, more where there is little.
    """
    try:
        import mmap

        mmap.mmap(-1, length).close()
    except (OSError, ImportError, MemoryError):
        return _is_among_freed(length)
    return True


def _is_among_freed(length: int) -> bool:
    """Whether it can be had of what was freed, and has not been given back to the system."""
    try:
        pieces = [bytearray(PIECE) for _ in range(-(-length // PIECE))]
    except MemoryError:
        return False
    return bool(pieces)
