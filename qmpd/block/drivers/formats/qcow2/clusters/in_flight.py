"""The parts of one long write, and in which order they allocate and link.

A write is cut where its host clusters are not adjacent.  QEMU (qcow2_co_pwritev_part) gives each
part to a task of its own, at most eight at once, and allocates for the next as soon as a task waits
for the file.  The order matters where linking frees the clusters that were there before: a part
that is allocated later may get them, one that was allocated before cannot.

Here parts run one after the other, and the order is kept by two rules:

* who holds the image's lock and neither reads nor writes tables lets nobody else go on;
* while tables are read or written the data of all parts that were started gets written.  These
  parts then wait for the lock, first come, first served, as does the next allocation.

If eight are busy, the next one is started when the first of them has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Final, NamedTuple

from qmpd.block.drivers.formats.qcow2.clusters.link import link_metas, perform_cow, release
from qmpd.errors import BlockIOError
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State
    from qmpd.block.drivers.formats.qcow2.tables.l2_meta import L2Meta

MAX_WORKERS: Final = 8
"""QEMU's QCOW2_MAX_WORKERS."""


class _Part(NamedTuple):
    metas: list[L2Meta]
    """What is to be linked."""
    error: BlockIOError | None
    """Why its data could not be written."""


class PartsInFlight:
    """The parts of one write that are started and not linked.

    `error`: the first that made a part fail; after it no part is to be allocated.
    `held_up`: the part that was started last has found that the image is corrupt, and held the
    image's lock while the header was written: the next allocation has waited for that, and all
    parts wait for the lock behind it.
    """

    __slots__ = ("_s", "_waiting", "_writing", "error", "held_up")

    def __init__(self, s: Qcow2State) -> None:
        self._s = s
        self._writing: deque[_Part] = deque()
        self._waiting: deque[_Part] = deque()
        self.error: BlockIOError | None = None
        self.held_up = False

    def __bool__(self) -> bool:
        return bool(self._writing or self._waiting)

    def time_passes(self) -> None:
        """Tables were read or written: the data of all parts is there, they wait for the lock."""
        self._waiting += self._writing
        self._writing.clear()

    async def let_others(self) -> None:
        """Link those that wait for the lock already; call before taking it."""
        for _ in range(len(self._waiting)):
            await self._link(self._waiting.popleft())

    async def start(self, write: Coroutine[Waiter, None, None], metas: list[L2Meta]) -> None:
        """Start a part, when fewer than eight are busy.

        :param write: writes its data
        :param metas: what is to be linked then; they belong to the part from now on
        """
        error = None
        usable = not self._s.unusable
        try:
            if len(self._writing) + len(self._waiting) == MAX_WORKERS:
                await self._link_first()
            await write
            if metas:
                await self._copy(metas[0])
        except BlockIOError as failure:
            error = failure
        except BaseException:
            write.close()
            async with self._s.lock:
                await release(self._s, metas)
            raise
        self._writing.append(_Part(metas, error))
        self.held_up = usable and self._s.unusable

    async def finish(self) -> None:
        """Wait for all; failures are in `error`."""
        while self:
            await self._link_first()

    async def _link_first(self) -> None:
        await self._link((self._waiting or self._writing).popleft())

    async def _copy(self, meta: L2Meta) -> None:
        """Copy around the data, which needs no table of this image to change."""
        if meta.has_cow and not meta.skip_cow:
            async with self._s.lock:
                await perform_cow(self._s, meta)
            meta.skip_cow = True

    async def _link(self, part: _Part) -> None:
        s = self._s
        metas, error = part
        uses = s.table_uses
        if metas:
            async with s.lock:
                try:
                    if error is None:
                        await link_metas(s, metas)
                except BlockIOError as failure:
                    error = failure
                finally:
                    await release(s, metas)
        if error is not None and self.error is None:
            self.error = error
        if s.table_uses != uses:
            self.time_passes()
