"""How much memory the images of a machine may take.

There are two ends to it, and a write that would reach one of them fails like on a disk that is full
(ENOSPC), before anything has been written:

* the limit that the owner has set: pages of all images that hold data, zeroes as well.  What is
  reserved only (preallocated, or zeroed in place) holds none.  Pages that another machine shares,
  a fork or a checkpoint, count for each machine that has them;
* the memory of the process: some is kept free of images, so that requests, clients and what gives
  memory back can go on.

Files ask for pages before they place them.  Most of the time that is one subtraction: pages are
granted many at a time, and only then is anything counted or looked for.
"""

from __future__ import annotations

import errno
import time
from typing import Final, Protocol
from weakref import WeakSet

from qmpd.base.memory import there_is
from qmpd.block.images.pages import PAGE
from qmpd.errors import BlockIOError

FREE: Final = 24 << 20
"""Bytes that are kept free of images."""
_GRANT: Final = (8 << 20) // PAGE
"""Pages that are granted at a time; less than what is kept free."""
_MOMENT: Final = 0.05
"""Seconds: to find that there is no memory takes some milliseconds."""


class Paged(Protocol):
    """A file that is kept in pages."""

    def pages(self) -> int:
        """How many of them hold data."""

    def missing(self, first: int, last: int) -> int:
        """How many of those from `first` up to `last` hold none."""


class Room:
    """The room of one machine's images.

    :param limit: bytes that all of them may hold; None: as many as there are
    """

    __slots__ = ("__weakref__", "_files", "_refused_until", "_spare", "left", "limit")

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.left = 0
        """Pages that may be placed without asking."""
        self._files: WeakSet[Paged] = WeakSet()
        # Pages that are certain to be free below the limit, beside those of `left`.
        self._spare = 0
        self._refused_until = 0.0

    def add(self, file: Paged) -> None:
        """Have a file here, and what it holds already."""
        self._files.add(file)
        self.left = self._spare = 0

    def drop(self, file: Paged) -> None:
        """A file is gone."""
        self._files.discard(file)
        self.freed()

    def used(self) -> int:
        """Bytes that all files hold."""
        return sum(file.pages() for file in self._files) * PAGE

    def take(self, file: Paged, first: int, last: int) -> None:
        """Grant pages of `file` from `first` up to `last`, and some more where they are free.

        :raises BlockIOError: ENOSPC
        """
        free = self._free(file, first, last)
        if not self._is_memory_for(last - first):
            self.left, self._spare = 0, self.left + self._spare
            raise BlockIOError(errno.ENOSPC)
        self.left = min(_GRANT, free)
        self._spare = free - self.left

    def _is_memory_for(self, pages: int) -> bool:
        """Whether there is memory for pages; where there is none, for a moment nobody looks."""
        if self._refused_until > time.monotonic():
            return False
        if there_is(FREE + pages * PAGE):
            return True
        self._refused_until = time.monotonic() + _MOMENT
        return False

    def freed(self) -> None:
        """Pages have been freed: there may be memory again."""
        self._refused_until = 0.0

    def _free(self, file: Paged, first: int, last: int) -> int:
        """Pages that are certain to be free below the limit once these are there.

        :raises BlockIOError: they would be beyond it
        """
        if self.limit is None:
            return _GRANT
        free = self.left + self._spare
        if free >= last - first:
            return free - (last - first)
        # close to the limit only pages count that are not there yet
        missing = file.missing(first, last)
        if missing > free:
            free = max(0, self.limit // PAGE - self.used() // PAGE)
            if missing > free:
                raise BlockIOError(errno.ENOSPC)
        return free - missing
