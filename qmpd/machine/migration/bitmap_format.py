"""Dirty bitmaps in a stream: flags and pieces (QEMU's ``block-dirty-bitmap.c``)."""

from __future__ import annotations

from typing import Final

EOS: Final = 0x01
"""The section ends."""
ZEROES: Final = 0x02
"""No bit of the piece is set; its bits are left out."""
BITMAP_NAME: Final = 0x04
DEVICE_NAME: Final = 0x08
START: Final = 0x10
COMPLETE: Final = 0x20
BITS: Final = 0x40
EXTRA: Final = 0x80
"""The flags have more bytes."""

ENABLED: Final = 0x01
PERSISTENT: Final = 0x02
RESERVED: Final = 0xF8

CHUNK: Final = 1024
"""Bytes of bits in a piece."""

WORD: Final = 8
ALIGN: Final = 32
"""What the bits of a piece are padded to, bytes: first a word, then this."""


def padded(length: int, align: int) -> int:
    """`length` rounded up to a multiple of `align`."""
    return -(-length // align) * align
