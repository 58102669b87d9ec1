"""Where in a cache each of its tables is: QEMU writes them in that order.

In an image that is damaged the order tells which table is the first that cannot be written.
"""

from __future__ import annotations

from typing import Final

_FEW: Final = 16
"""Slots that are looked at one by one."""

_APART: Final = 4
"""How far from each other the wanted slots of adjacent tables are."""


class Slots:
    """The slots of one cache.

    :param count: how many tables it has at most
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._used: set[int] = set()
        self._given_back: set[int] = set()

    def take(self, number: int) -> int:
        """Take the next free slot from the wanted one on.

        :param number: the table's, where the file is cut into tables
        :returns: one beyond all where none is free, which is so while more tables are in use
        """
        count, used, given_back = self._count, self._used, self._given_back
        slot = number * _APART % count
        free = count - len(used)
        if free == len(given_back) and free <= _FEW:
            # As ever when a table takes the place of another one in a cache that is full.
            slot = min(given_back, key=lambda found: (found - slot) % count, default=count)
        else:
            while slot in used:
                slot = (slot + 1) % count
        given_back.discard(slot)
        if slot < count:
            used.add(slot)
        return slot

    def free(self, slot: int) -> None:
        """Give a slot back."""
        if slot < self._count:
            self._used.discard(slot)
            self._given_back.add(slot)
