"""Making what was written to a node stable: flushes, and what they find done already."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from qmpd.block.model.node_state import NodeState
from qmpd.block.permission_bits import PRIMARY, WRITE, WRITE_UNCHANGED
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qmpd.block.model.data import Data

_WRITES: Final = WRITE | WRITE_UNCHANGED


class NodeFlush(NodeState):
    """What a node does when it is flushed."""

    @property
    def is_unsynced(self) -> bool:
        """Whether a flush has to reach the disk, as far as this node is concerned."""
        written = self._write_generation not in (self._flushed_generation, self._synced_generation)
        return written and not self.read_only and not self.cache.no_flush

    @contextmanager
    def syncing(self) -> Iterator[None]:
        """Within, what has been written is made stable on the disk, unless that fails."""
        generation = self._write_generation
        yield
        self._synced_generation = generation

    @contextmanager
    def unfinished(self) -> Iterator[None]:
        """Within, a flush does not wait for the disk: the file is new, and useless until the end.

        The next one makes everything stable.  Only nodes that are files by themselves do so.
        """
        self._unfinished = not self.children and self.driver.at_hand() is not None
        try:
            yield
        finally:
            if self._unfinished:
                self._unfinished = False
                self._flushed_generation = -1

    async def flush(self) -> None:
        """Make what was written stable, here and below; with no-flush, as far as the host's cache.

        :raises BlockIOError: that of the node nearest to this one
        """
        if self.flags.read_only:
            return
        if (
            self._flushed_generation == self._write_generation
            and self.driver.capabilities.flushes_writes_only
            and not self.children
        ):
            return
        self.in_flight += 1
        try:
            await self._flush_own()
        finally:
            self.request_ended()

    async def _flush_own(self) -> None:
        generation = self._write_generation
        driver = self.driver
        if driver.capabilities.flushes_children:
            await driver.flush()
            return
        children = self.children
        listener = self._listening_file() if children else None
        if listener is not None:
            listener.debug_event("flush_to_os")
        await driver.flush()
        if self._flushed_generation != generation and not self.flags.cache.no_flush:
            if listener is not None:
                listener.debug_event("flush_to_disk")
            if self._synced_generation != generation and not self._unfinished:
                await driver.flush_to_disk()
        failure: BlockIOError | None = None
        for edge in list(children.values()):
            if edge.perm & _WRITES:
                try:
                    await edge.node.flush()
                except BlockIOError as error:
                    failure = failure or error
        if failure is not None:
            raise failure
        self._flushed_generation = generation

    def _listening_file(self) -> Data | None:
        """The driver of the node's own file, if it wants to know of flushes here."""
        for edge in self.children.values():
            if edge.role & PRIMARY:
                driver = edge.node.driver
                return driver if driver.capabilities.hears_events else None
        return None
