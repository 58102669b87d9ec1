"""Tables that may be so long that others have their turn while they are looked at.

An L1 table has up to 32 MiB, which takes longer to decode than others are to wait.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final, Protocol

from qmpd.block.drivers.formats.qcow2.tables.cache import decode_entries

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE: Final = 1 << 20
"""Bytes of a table that are decoded at a time."""

EACH: Final = 1 << 13
"""Entries of a table that are passed over at a time."""


class Rests(Protocol):
    """An open image."""

    async def rest(self) -> None:
        """Let others have their turn."""


async def decode_long(s: Rests, raw: bytes) -> array[int]:
    """What `decode_entries` returns; others have their turn meanwhile."""
    if len(raw) <= PIECE:
        return decode_entries(raw)
    entries = array("Q")
    whole = memoryview(raw)
    for start in range(0, len(raw), PIECE):
        await s.rest()
        entries.extend(decode_entries(bytes(whole[start : start + PIECE])))
    return entries


def pieces(table: array[int], each: int = EACH) -> Iterator[tuple[int, array[int]]]:
    """A table in pieces, with where they begin: others may have their turn between two of them."""
    for start in range(0, len(table), each):
        yield start, table[start : start + each]
