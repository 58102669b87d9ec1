"""What a long area of a node holds, run by run: the block status of many extents in one go."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Final

DATA: Final = 0
"""State of a run: reads come from somewhere."""
ZERO: Final = 1
"""State of a run: there is no data, and it reads as zeroes."""

_NONE: Final = 255


class StatusMap:
    """The runs of an area, from its beginning on; those of data and those of zeroes alternate.

    :param offset: where the area begins, bytes

    `starts` has where each run begins, counted from the beginning of the area, `first` is the
    state of the first one, and `length` is that of all of them.
    """

    __slots__ = ("first", "length", "offset", "starts")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.length = 0
        self.starts: list[int] = []
        self.first = DATA

    @property
    def end(self) -> int:
        """Where the last run ends, bytes."""
        return self.offset + self.length

    def _last(self) -> int:
        """The state of the last run."""
        return self.first ^ (len(self.starts) + 1 & 1) if self.starts else _NONE

    def add(self, length: int, state: int) -> None:
        """Add a run."""
        self.extend([self.length], state, self.length + length)

    def extend(self, starts: Sequence[int], first: int, length: int) -> None:
        """Add runs that alternate; the first begins where the last so far ends.

        :param length: the new length of all
        """
        if not self.starts:
            self.first = first
        elif starts and self._last() == first:
            starts = starts[1:]
        self.starts += starts
        self.length = length

    def add_many(self, states: bytes, size: int, skipped: int = 0) -> None:
        """Add runs that all have the same length.

        :param states: of each
        :param size: bytes of each
        :param skipped: bytes of the first that lie before the area
        """
        count = len(states)
        before = bytes((self._last(),)) + states[:-1]
        # a byte for each run that differs from the one before, without a look at each by itself
        changes = int.from_bytes(states, "little") ^ int.from_bytes(before, "little")
        marks = changes.to_bytes(count, "little")
        begin = self.length - skipped
        new = not self.starts
        self.starts += compress(range(begin, begin + count * size, size), marks)
        if new:
            self.starts[0] = 0
            self.first = states[0]
        self.length = begin + count * size

    def cut(self, length: int) -> None:
        """Forget what lies behind so many bytes."""
        while self.starts and self.starts[-1] >= length:
            self.starts.pop()
        self.length = min(self.length, length)
