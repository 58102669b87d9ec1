"""What a node keeps in order to be read and written, and what is done around each request."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from qmpd.base.sizes import SECTOR
from qmpd.block.bits.bitmaps import Bitmaps
from qmpd.block.model.limits import Alignments, BlockLimits, RequestTracker, alignments, merged
from qmpd.block.permission_bits import COW, DATA, FILTERED
from qmpd.errors import BlockIOError
from qmpd.loop.apart import Midway

if TYPE_CHECKING:
    from qmpd.block.model.data import Above, Below, Data
    from qmpd.block.model.flags import CacheMode, NodeFlags
    from qmpd.block.model.services import Services

MAXIMUM_LENGTH: Final = (2**63 - 1) & ~((1 << 30) - 1)
"""Longest node, bytes (QEMU's BDRV_MAX_LENGTH)."""

_LAST_SECTOR: Final = (2**63 - 1) & ~(SECTOR - 1)

_INHERITED: Final = DATA | FILTERED | COW


class NodeState:
    """A node, as its requests see it.

    :param services: the surroundings of its graph
    :param flags: what the options say that all nodes have
    """

    driver: Data
    children: Mapping[str, Below]
    parents: Sequence[Above]
    node_name: str

    def __init__(self, services: Services, flags: NodeFlags) -> None:
        self.services = services
        self.bitmaps = Bitmaps()
        """Its dirty bitmaps, the newest first."""
        self.flags = flags
        self.length = 0
        self.has_followed = False
        """Whether a child was resized, and all were told of it, since a change of length began."""
        self.write_threshold = 0
        self.wr_highest_offset = 0
        self.in_flight = 0
        self.quiesce_counter = 0
        self._write_generation = 0
        self._flushed_generation = 0
        self._synced_generation = 0
        self._unfinished = False
        """Whether flushes leave what has been written to the host's cache."""
        self._idle: list[Midway] = []
        self.limits: BlockLimits | None = None
        """What its driver can take in one request; None for anything."""
        self.alignments = Alignments()
        self.tracker = RequestTracker()
        self.copy_on_read = 0
        """How many want what is read from below to be kept here."""

    # Its flags

    @property
    def read_only(self) -> bool:
        """Whether it may not be written."""
        return self.flags.read_only

    @property
    def active(self) -> bool:
        """Whether it has not been given up to another process (blockdev-set-active)."""
        return self.flags.active

    @property
    def unmap(self) -> bool:
        """Whether discards are passed on (discard=unmap)."""
        return self.flags.unmap

    @property
    def detect_zeroes(self) -> str:
        """What is done about writes of zeroes: off, on or unmap."""
        return self.flags.detect_zeroes

    @property
    def cache(self) -> CacheMode:
        """How host caches are used."""
        return self.flags.cache

    # Length

    def _resized(self) -> None:
        """Its length is another one: tell what depends on it."""
        for bitmap in self.bitmaps:
            bitmap.resize(self.length)
        for edge in self.parents:
            if edge.user is not None:
                edge.user.node_resized()
            elif edge.parent_node is not None:
                edge.parent_node.child_resized()

    def child_resized(self) -> None:
        """A child has another length, which is that of some nodes, too."""
        if self.driver is None:
            # it is being opened, and its image repaired
            return
        if self.driver.format_name in self.services.manners.lengths_follow:
            before = self.length
            self.refresh_length()
            if self.length != before:
                self.has_followed = True
                self._resized()

    def refresh_length(self) -> None:
        """Ask the driver for the length anew; a node ends at a full sector.

        :raises BlockIOError: it is too long
        """
        length = self.driver.get_length()
        limited = self.services.manners.lengths_are_limited
        if length > (MAXIMUM_LENGTH if limited else _LAST_SECTOR):
            raise BlockIOError(errno.EFBIG, "Could not refresh total sector count: File too large")
        self.length = -(-length // SECTOR) * SECTOR

    # Around requests

    def no_memory(self) -> BlockIOError:
        """Why a request fails for which there was no memory."""
        self.services.loop.no_memory()
        return BlockIOError(errno.ENOMEM)

    def debug_event(self, name: str) -> None:
        """A point of interest in a driver above was reached (blkdebug listens to these)."""
        self.driver.debug_event(name)

    @property
    def request_alignment(self) -> int:
        """Bytes to which requests are best aligned."""
        return 1 if self.limits is None else self.limits.request_alignment

    def refresh_limits(self) -> None:
        """Ask the driver, and what it stands on, anew what a request may be."""
        nodes = [edge.node for edge in self.children.values() if edge.role & _INHERITED]
        below = [node.limits for node in nodes if node.limits is not None]
        self.limits = merged(self.driver.limits(), below)
        if self.services.manners.tells_more:
            below_it = [node.alignments for node in nodes]
            self.alignments = alignments(self.driver.alignments(), below_it)

    @property
    def passes_requests(self) -> bool:
        """Whether requests get to its driver as they are."""
        return self.limits is None and not self.copy_on_read and not self.quiesce_counter

    def check_write(self, offset: int, length: int) -> None:
        """Checks before a write, or a discard that is passed on."""
        check_request(offset, length)
        if self.bitmaps.by_age and any(bitmap.readonly for bitmap in self.bitmaps):
            raise BlockIOError(errno.EPERM)
        flags = self.flags
        if flags.read_only or not flags.active:
            raise BlockIOError(errno.EPERM)

    def begin_area(self, offset: int, length: int, event: str | None = None) -> None:
        """The driver is about to write an area, or to discard it; `event` is for blkdebug."""
        end = offset + length
        if self.write_threshold and end > self.write_threshold:
            threshold, self.write_threshold = self.write_threshold, 0
            self.services.emit(
                "BLOCK_WRITE_THRESHOLD",
                {
                    "node-name": self.node_name,
                    "amount-exceeded": end - threshold,
                    "write-threshold": threshold,
                },
            )
        if event is not None and self.driver.capabilities.hears_events:
            self.driver.debug_event(event)

    def end_area(self, offset: int, length: int, done: bool) -> None:
        """The driver has written an area, or failed to; dirty bitmaps are marked either way."""
        if self.driver.capabilities.hears_events:
            self.driver.debug_event("pwritev_done")
        self.written(offset, length, done)

    def written(self, offset: int, length: int, done: bool) -> None:
        """The same, where the driver hears of no events."""
        self._write_generation += 1
        end = offset + length
        if end > self.length and done:
            self.length = -(-end // SECTOR) * SECTOR
            self._resized()
        if length:
            if end > self.wr_highest_offset:
                self.wr_highest_offset = end
            if self.bitmaps.by_age:
                self._mark(offset, length)

    def _mark(self, offset: int, length: int) -> None:
        for bitmap in self.bitmaps.by_age:
            bitmap.mark(offset, length)

    def request_ended(self) -> None:
        """A request that was counted in `in_flight` has ended."""
        self.in_flight -= 1
        if self._idle and not self.in_flight:
            idle, self._idle = self._idle, []
            for waiter in idle:
                waiter.wake()

    async def wait_idle(self) -> None:
        """Wait until no request is under way in this node."""
        while self.in_flight:
            waiter = Midway()
            self._idle.append(waiter)
            await waiter


def check_request(offset: int, length: int) -> None:
    """Refuse what no node can hold; tables of damaged images lead there.

    :raises BlockIOError: EIO
    """
    if offset < 0 or offset + length > MAXIMUM_LENGTH:
        raise BlockIOError(errno.EIO)
