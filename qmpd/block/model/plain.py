"""The shortest way to a node's bytes: no coroutine, where nothing on the way has anything to do.

That is so where an image is written and read as it is: no filter, no format but raw, no limits,
no faults, nothing drained.  Whoever has many requests at once (`qmpd.export.nbd.at_once`) asks
for it anew each time that others may have run; all that a request leaves behind at a node, such
as marks in dirty bitmaps, it leaves by this way as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self, TypeVar

from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.model.data import Bytes
    from qmpd.block.model.node import Node
    from qmpd.block.model.services import Services

D = TypeVar("D")


class Plain:
    """A way to bytes.

    :param ways: the nodes on it, each with how far offsets are moved there
    :param bytes_: where it leads
    :param moved: how far offsets are moved in all
    """

    __slots__ = ("_begin", "_end", "_last", "_put", "_upwards", "_ways", "bytes", "moved")

    def __init__(self, ways: Sequence[tuple[Node, int]], bytes_: Bytes, moved: int) -> None:
        self._ways = ways
        self._upwards = ways[::-1]
        self._last = ways[-1][0]
        self._put = bytes_.pwrite
        self.bytes = bytes_
        self.moved = moved
        # what has been written, and nodes have yet to be told of
        self._begin = self._end = 0

    @classmethod
    def of(cls, node: Node) -> Self | None:
        """The way from `node`, if there is one now."""
        moved = 0
        ways = []
        while True:
            if not node.passes_requests:
                return None
            ways.append((node, moved))
            driver = node.driver
            step = driver.passes_to()
            if step is None:
                bytes_ = driver.at_hand()
                return None if bytes_ is None else cls(ways, bytes_, moved)
            node, offset = step
            moved += offset

    def still_from(self, node: Node) -> bool:
        """Whether `of` would find the same for `node`."""
        moved, last = 0, self._last
        for known, known_moved in self._ways:
            if node is not known or moved != known_moved:
                return False
            # `passes_requests`: this is asked for each request of a client that waits for each
            if node.limits is not None or node.copy_on_read or node.quiesce_counter:
                return False
            if node is last:
                break
            step = node.driver.passes_to()
            if step is None:
                return False
            node, offset = step
            moved += offset
        return node.driver.at_hand() is self.bytes

    def writable(self) -> bool:
        """Whether writes may go this way: nobody looks at what is written."""
        return all(node.flags.detect_zeroes == "off" for node, _ in self._ways)

    def has_room(self, offset: int, length: int) -> bool:
        """Whether no node on the way ends before an area that is to be written does."""
        end = offset + length
        sizes = ((node.driver.fixed_size(), moved) for node, moved in self._ways)
        return all(size is None or end + moved <= size for size, moved in sizes)

    @property
    def flushes(self) -> bool:
        """Whether a flush of the first node makes the bytes durable."""
        return not any(node.cache.no_flush for node, _ in self._ways)

    @property
    def services(self) -> Services:
        """The surroundings of the nodes."""
        return self._ways[0][0].services

    def begin(self) -> None:
        """A request begins that others may run beside; `end` follows."""
        for node, _ in self._ways:
            node.in_flight += 1

    def end(self) -> None:
        """It has ended."""
        for node, _ in self._upwards:
            node.request_ended()

    def check_write(self, offset: int, length: int) -> None:
        """An area is about to be written; `end_write` follows.

        :raises BlockIOError: it must not be
        """
        for node, moved in self._ways:
            node.check_write(offset + moved, length)
        for node, moved in self._ways:
            node.begin_area(offset + moved, length, "pwritev")

    def end_write(self, offset: int, length: int, *, done: bool) -> None:
        """An area has been written, or that has failed."""
        for node, moved in self._upwards:
            node.end_area(offset + moved, length, done)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write `data`, and do around it what `NodeIO.pwrite` does.

        :raises BlockIOError: refused or failed; doing it again in the usual way tells why
        """
        self.write_by(self.bytes.pwrite, offset, data, len(data))

    def takes_writes(self) -> bool:
        """Whether `write_on` will do: no node refuses writes, or hears of them or looks at them."""
        for node, _ in self._ways:
            flags = node.flags
            if flags.read_only or not flags.active or flags.detect_zeroes != "off":
                return False
            if node.write_threshold or node.driver.capabilities.hears_events:
                return False
            if node.bitmaps.by_age and any(bitmap.readonly for bitmap in node.bitmaps):
                return False
        return True

    def write_on(self, offset: int, data: bytes | memoryview) -> None:
        """Write, while nothing else runs, one after the other; `end_writes` follows the last.

        What writes leave behind at nodes they leave together.

        :raises BlockIOError: failed; doing it again in the usual way tells why
        """
        if offset != self._end:
            self.end_writes()
            self._begin = self._end = offset
        self._end += len(data)
        try:
            self._put(offset + self.moved, data)
        except (BlockIOError, MemoryError):
            self._end = offset
            self.end_writes()
            self.end_write(offset, len(data), done=False)
            raise

    def end_writes(self) -> None:
        """Tell the nodes of what `write_on` has written."""
        begin, end = self._begin, self._end
        if begin < end:
            self._begin = end
            length = end - begin
            for node, moved in self._upwards:
                node.written(begin + moved, length, True)

    def write_by(self, put: Callable[[int, D], None], offset: int, data: D, length: int) -> None:
        """The same for data that `put` writes to where it is told.

        :param length: bytes
        """
        self.check_write(offset, length)
        done = False
        try:
            put(offset + self.moved, data)
            done = True
        finally:
            self.end_write(offset, length, done=done)
