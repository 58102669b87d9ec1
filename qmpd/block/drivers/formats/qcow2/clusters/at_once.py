"""Changing tables, refcounts and their flags at once, whenever it is interrupted.

An internal snapshot changes refcounts and the copied flags that say the same, in clusters all over
the file; an image that is emptied is laid out anew.  QEMU writes one after the other: if it is
killed meanwhile, or the power is lost, the image is corrupt.  Here the changes are held back
(`HeldFile`) until all are known.  Then

1. what is new, and copies of all that is to change, go to where nothing is;
2. one sector, the header's, says that the copies are the image;
3. what has changed is written in its place, which nothing refers to any more;
4. one sector says that the image is where it was, and the copies are cut off.

Each step is flushed before the next.  Whenever this ends the image is the old one or the new one.
"""

from __future__ import annotations

import errno
from array import array
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from copy import copy
from typing import TYPE_CHECKING, Final

from qmpd.base.sizes import SECTOR
from qmpd.block.drivers.formats.qcow2.clusters.copies import CHUNK, Copies
from qmpd.block.drivers.formats.qcow2.clusters.used import Used
from qmpd.block.drivers.formats.qcow2.refcounts.counts import get_refcount
from qmpd.block.drivers.formats.qcow2.tables.held import HeldFile
from qmpd.errors import BlockIOError, QmpError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State
    from qmpd.block.model.node import Node

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EINVAL, errno.ENOTSUP})
"""Errors of a file that cannot grow by the copies."""


AT_A_TIME: Final = 256
"""Clusters that are looked at before others may have their turn."""


@asynccontextmanager
async def at_once(s: Qcow2State) -> AsyncIterator[None]:
    """Within, changes of the metadata are held back; call with the image's lock held.

    With lazy refcounts that are not right anyway nothing is held back: who opens such an image
    repairs it.

    :raises BlockIOError: they cannot be written; the image is what it was
    """
    if not s.accurate_refcounts:
        yield
        return
    await s.flush_caches()
    before = _Memory(s)
    s.held = held = HeldFile(s.file_node, s.geometry.cluster_size)
    try:
        yield
        await s.write_caches()
    except QmpError:
        # What was done until then is there, as in QEMU.
        with suppress(BlockIOError):
            await s.write_caches()
        s.held = None
        with suppress(BlockIOError):
            await _write(s, held, before)
        raise
    finally:
        s.held = None
    await _write(s, held, before)


class _Memory:
    """What of an image is in memory, to be restored."""

    def __init__(self, s: Qcow2State) -> None:
        self.l1 = array("Q", s.l1)
        self.refcount_table = array("Q", s.refcount_table)
        self.header = copy(s.header)
        self.others = {name: getattr(s, name) for name in self._OTHERS}

    _OTHERS: Final = (
        *("size", "snapshots", "snapshots_size", "l1_vm_state_index"),
        *("free_cluster_index", "free_byte_offset"),
    )

    def restore(self, s: Qcow2State) -> None:
        """Let the image in memory be as it was."""
        for name, value in self.others.items():
            setattr(s, name, value)
        s.header = self.header
        s.set_l1(self.l1)
        s.set_refcount_table(self.refcount_table)
        s.l2_cache.forget()
        s.refcount_cache.forget()


async def _write(s: Qcow2State, held: HeldFile, before: _Memory) -> None:
    """Write what was held back."""
    file = s.file_node
    if held.clusters:
        used = Used(s, file, before.refcount_table)
        try:
            fresh = {index for index in held.clusters if index and not await used.is_used(index)}
            await _write_clusters(file, held, fresh)
            await file.flush()
            await _switch(s, used, held, set(held.clusters) - fresh)
        except BlockIOError:
            before.restore(s)
            raise
    if file.length > held.length:
        with suppress(BlockIOError):
            await file.truncate(held.length, exact=False)
    for offset, length in held.discards:
        with suppress(BlockIOError):
            await _discard(s, offset, length)


async def _discard(s: Qcow2State, offset: int, length: int) -> None:
    """Discard those clusters of an area that have not been taken again since they were freed."""
    bits = s.geometry.cluster_bits
    start, end = offset >> bits, (offset + length) >> bits
    for index in range(start, end + 1):
        if not index % AT_A_TIME:
            await s.rest()
        if index < end and not await get_refcount(s, index):
            continue
        if index > start:
            await s.file_node.pdiscard(start << bits, (index - start) << bits)
        start = index + 1


async def _write_clusters(file: Node, held: HeldFile, wanted: Iterable[int]) -> None:
    """Write clusters in their places, adjacent ones together."""
    size = len(next(iter(held.clusters.values())))
    start, parts = 0, bytearray()
    for index in sorted(wanted):
        if parts and (index * size != start + len(parts) or len(parts) >= CHUNK):
            await file.pwrite(start, bytes(parts))
            parts = bytearray()
        if not parts:
            start = index * size
        parts += held.clusters[index][: max(held.length - index * size, 0)]
    if parts:
        await file.pwrite(start, bytes(parts))


async def _switch(s: Qcow2State, used: Used, held: HeldFile, changed: set[int]) -> None:
    """Change what was in use, all at once."""
    file = s.file_node
    in_place = changed - {0}
    header = held.clusters.get(0)
    if in_place:
        if header is None:
            header = bytearray(await file.pread(0, s.geometry.cluster_size))
        copies = Copies(s, held, header)
        try:
            await copies.make(in_place, used)
            await copies.write(file)
        except BlockIOError as error:
            if error.errno not in _NO_ROOM:
                raise
            await _in_doubt(s, file, held, changed)
            return
        await _write_header(file, copies.header)
        try:
            await _write_clusters(file, held, in_place)
            await file.flush()
        except BlockIOError:
            copies.keep()
            held.length = file.length
            return
    if header is not None:
        await _write_first(file, header)


async def _write_first(file: Node, cluster: bytearray) -> None:
    """Write the first cluster, at last the sector that counts."""
    if len(cluster) > SECTOR:
        await file.pwrite(SECTOR, bytes(cluster[SECTOR:]))
    await _write_header(file, cluster)


async def _write_header(file: Node, header: bytearray) -> None:
    await file.pwrite(0, bytes(header[:SECTOR]))
    await file.flush()


async def _in_doubt(s: Qcow2State, file: Node, held: HeldFile, changed: set[int]) -> None:
    """Where there is no room for copies: write in place, which who opens it must repair meanwhile.

    Images of version 2 cannot say that they are in doubt.
    """
    marked = s.header.version >= 3
    if marked:
        await s.mark_dirty()
    await _write_clusters(file, held, changed - {0})
    await file.flush()
    if 0 in changed:
        await _write_first(file, held.clusters[0])
    if marked:
        await s.mark_clean()
