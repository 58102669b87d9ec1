"""Every moment at which the power may be lost, while something happens to a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from qmpd.sim.power.file import Change, Unflushed
    from qmpd.sim.power.storage import OrderedStorage


class Point(NamedTuple):
    """A moment after a write or a flush.

    :param number: counts from 1; 0 is before the first
    :param what: what was done last, for messages
    :param files: what is known of each file
    :param reached: what the program had said last
    """

    number: int
    what: str
    files: dict[str, Unflushed]
    reached: Any


class Recorder:
    """Keeps the points of a storage from now on.

    :param storage: what has been written to it so far is there for certain
    """

    def __init__(self, storage: OrderedStorage) -> None:
        self._storage = storage
        storage.settle()
        self.reached: Any = None
        """What the program has come to."""
        self.points: list[Point] = []
        self._add("nothing was written")
        storage.watch = self._happened

    def stop(self) -> None:
        """Keep no more."""
        self._storage.watch = None

    def _happened(self, filename: str, change: Change) -> None:
        where = "" if change.kind == "flush" else f" at {change.offset}, {change.length} bytes"
        if change.kind == "truncate":
            where = f" to {change.offset} bytes"
        self._add(f"{change.kind} of {filename}{where}")

    def _add(self, what: str) -> None:
        files = self._storage.unflushed()
        self.points.append(Point(len(self.points), what, files, self.reached))
