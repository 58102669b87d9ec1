"""Counting all references in an image, with a look at each entry (calculate_refcounts)."""

from __future__ import annotations

import errno
import logging
from array import array
from typing import TYPE_CHECKING, Final

from qmpd.block.drivers.formats.qcow2.bitmaps.directory import (
    TABLE_OFFSET_MASK,
    StoredBitmap,
    load_directory,
)
from qmpd.block.drivers.formats.qcow2.bitmaps.update import load_table
from qmpd.block.drivers.formats.qcow2.header.layout import (
    ALL_ALLOC,
    ALL_ZEROES,
    ENTRY_SIZE,
    INT64_MAX,
    MAX_L1_SIZE,
    OFFSET_MASK,
    OFLAG_COPIED,
    OFLAG_ZERO,
    REFT_OFFSET_MASK,
)
from qmpd.block.drivers.formats.qcow2.options import ACTIVE_L2, INACTIVE_L2
from qmpd.block.drivers.formats.qcow2.refcounts.overlap import c_hex, pre_write_overlap_check
from qmpd.block.drivers.formats.qcow2.repair.counted import Counts
from qmpd.block.drivers.formats.qcow2.repair.result import CheckResult, say, verb
from qmpd.block.drivers.formats.qcow2.tables.cache import encode_entries
from qmpd.block.drivers.formats.qcow2.tables.entries import Cluster
from qmpd.block.drivers.formats.qcow2.tables.long import decode_long, pieces
from qmpd.errors import BlockIOError, QmpError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State

log = logging.getLogger("qmpd.block.qcow2")

AT_A_TIME: Final = 256
"""Clusters and entries that are counted before others may have their turn."""

L1_RESERVED = 0x7F00_0000_0000_01FF
L2_RESERVED = 0x3F00_0000_0000_01FE
TABLE_RESERVED = 0x1FF
"""Bits of entries of the L1 table, of L2 tables and of the refcount table that must be clear."""


class _Overlap(Exception):
    """A table that was to be repaired lies where others do."""


class ReferenceCounter:
    """References to each cluster of the file, found by walking the metadata.

    `counts` has an item for each cluster; it grows when clusters behind the end are counted.
    `rebuild`: the refcount structures cannot be repaired where they are.

    :param fix: whether entries are repaired on the way
    """

    def __init__(self, s: Qcow2State, result: CheckResult, *, fix: bool) -> None:
        self._s = s
        self._result = result
        self._fix = fix
        self.rebuild = False
        self.counts = Counts(s.geometry.clusters(s.file.length), s.geometry.refcount_block_size)

    async def count_all(self) -> None:
        """Count everything that is reachable from the header.

        :raises QmpError: what must be read for it cannot be read
        """
        s = self._s
        header = s.header
        self.add(0, s.geometry.cluster_size)
        await self._count_l1(header.l1_table_offset, header.l1_size, active=True)
        if s.has_data_file and s.snapshots:
            self._wrong(f"ERROR {len(s.snapshots)} snapshots in image with data file")
        await self._count_snapshots()
        await self.add_long(header.snapshots_offset, s.snapshots_size)
        await self.add_long(header.refcount_table_offset, len(s.refcount_table) * ENTRY_SIZE)
        await self._count_bitmaps()
        for start, piece in pieces(s.refcount_table, AT_A_TIME):
            await s.rest()
            for index, entry in enumerate(piece, start):
                if entry:
                    await self._count_block(index, entry)

    def add(self, offset: int, size: int) -> None:
        """Count one reference to each cluster of a range of the file (qcow2_inc_refcounts_imrt)."""
        clusters = self._clusters(offset, size)
        if clusters:
            self._count(clusters)

    async def add_long(self, offset: int, size: int) -> None:
        """Do the same for a table, which may have many clusters: others have their turn."""
        clusters = self._clusters(offset, size)
        for start in range(0, len(clusters), AT_A_TIME):
            await self._s.rest()
            self._count(clusters[start : start + AT_A_TIME])

    def _clusters(self, offset: int, size: int) -> range:
        """The clusters that a range touches; none where it goes beyond the end of the file."""
        if size <= 0:
            return range(0)
        geometry = self._s.geometry
        # The last cluster may be there in part.
        if offset + size - self._s.file.length >= geometry.cluster_size:
            self._wrong(
                "ERROR: counting reference for region exceeding the end of the file by one"
                f" cluster or more: offset 0x{offset:x} size 0x{size:x}"
            )
            return range(0)
        bits = geometry.cluster_bits
        return range(offset >> bits, (offset + size - 1 >> bits) + 1)

    def _count(self, clusters: range) -> None:
        """Count one reference to each of these clusters."""
        geometry = self._s.geometry
        bits, most = geometry.cluster_bits, geometry.refcount_max
        self.reach(clusters.stop)
        for index in clusters:
            if self.counts[index] == most:
                self._wrong(
                    f"ERROR: overflow cluster offset=0x{index << bits:x}\n"
                    "Use qemu-img amend to increase the refcount entry width or qemu-img convert"
                    " to create a clean copy if the image cannot be opened for writing"
                )
            else:
                self.counts[index] += 1

    def reach(self, clusters: int) -> None:
        """Have items for so many clusters at least."""
        self.counts.reach(clusters)

    def _wrong(self, text: str) -> None:
        say(self._s, text)
        self._result.corruptions += 1

    async def _read(self, offset: int, length: int, where: str) -> array[int]:
        try:
            raw = bytes(await self._s.file.pread(offset, length))
        except BlockIOError:
            say(self._s, f"ERROR: I/O error in check_refcounts_{where}")
            self._result.check_errors += 1
            raise
        return await decode_long(self._s, raw)

    async def _count_snapshots(self) -> None:
        s = self._s
        for snapshot in s.snapshots:
            await s.rest()
            offset, size = snapshot.l1_table_offset, snapshot.l1_size
            ident, name = (
                raw.decode("utf-8", "surrogateescape") for raw in (snapshot.id, snapshot.name)
            )
            wrong = None
            if s.geometry.offset_into_cluster(offset):
                wrong = f"l1_offset={c_hex(offset)}: L1 table is not cluster aligned"
            elif size > MAX_L1_SIZE // ENTRY_SIZE:
                wrong = f"l1_size={c_hex(size)}: L1 table is too large"
            if wrong is not None:
                self._wrong(
                    f"ERROR snapshot {ident} ({name}) {wrong}; snapshot table entry corrupted"
                )
                continue
            await self._count_l1(offset, size, active=False)

    async def _count_l1(self, offset: int, size: int, *, active: bool) -> None:
        if not size:
            return
        await self.add_long(offset, size * ENTRY_SIZE)
        for _, piece in pieces(await self._read(offset, size * ENTRY_SIZE, "l1")):
            await self._s.rest()
            for entry in piece:
                if entry:
                    await self._count_l1_entry(entry, active=active)

    async def _count_l1_entry(self, entry: int, *, active: bool) -> None:
        await self._s.rest()
        cluster_size = self._s.geometry.cluster_size
        if entry & L1_RESERVED:
            self._wrong(f"ERROR found L1 entry with reserved bits set: {entry:x}")
        l2_offset = entry & OFFSET_MASK
        self.add(l2_offset, cluster_size)
        if l2_offset % cluster_size:
            self._wrong(
                f"ERROR l2_offset={l2_offset:x}: Table is not cluster aligned; L1 entry corrupted"
            )
        try:
            await self._count_l2(l2_offset, active=active)
        except _Overlap as overlap:
            raise BlockIOError(errno.EIO) from overlap

    async def _count_l2(self, l2_offset: int, *, active: bool) -> None:
        s = self._s
        table = await self._read(l2_offset, s.geometry.cluster_size, "l2")
        extended = s.geometry.extended_l2
        width = 2 if extended else 1
        for index in range(len(table) // width):
            if not index % AT_A_TIME:
                await s.rest()
            entry = table[index * width]
            bitmap = table[index * width + 1] if extended else 0
            if not entry and not bitmap:
                continue
            kind = s.rules.cluster_type(entry)
            if kind is not Cluster.COMPRESSED and entry & L2_RESERVED:
                self._wrong(f"ERROR found l2 entry with reserved bits set: {entry:x}")
            if kind is Cluster.COMPRESSED:
                self._count_compressed(index, entry, bitmap)
            elif kind in (Cluster.NORMAL, Cluster.ZERO_ALLOC):
                if not await self._aligned(table, l2_offset, index, entry, bitmap, active=active):
                    continue
                if not s.has_data_file:
                    self.add(entry & OFFSET_MASK, s.geometry.cluster_size)
            elif bitmap & ALL_ALLOC:
                self._wrong("ERROR: Unallocated cluster has non-zero subcluster allocation map")

    def _count_compressed(self, index: int, entry: int, bitmap: int) -> None:
        s = self._s
        if entry & OFLAG_COPIED:
            self._wrong(
                f"ERROR: coffset=0x{entry & s.geometry.cluster_offset_mask:x}: copied flag must"
                " never be set for compressed clusters"
            )
            entry &= ~OFLAG_COPIED
        if s.has_data_file:
            self._wrong(f"ERROR compressed cluster {index} with data file, entry=0x{entry:x}")
        elif bitmap:
            self._wrong(
                f"ERROR compressed cluster {index} with non-zero subcluster allocation bitmap,"
                f" entry=0x{entry:x}"
            )
        else:
            self.add(*s.geometry.compressed_extent(entry))

    async def _aligned(
        self,
        table: array[int],
        l2_offset: int,
        index: int,
        entry: int,
        bitmap: int,
        *,
        active: bool,
    ) -> bool:
        """Look at the offset of an allocated cluster; returns whether the cluster is still used."""
        s = self._s
        offset = entry & OFFSET_MASK
        if (bitmap >> 32) & bitmap:
            self._wrong(
                f"ERROR offset={offset:x}: Allocated cluster has corrupted subcluster allocation"
                " bitmap"
            )
        if not s.geometry.offset_into_cluster(offset):
            return True
        has_data = bitmap & ALL_ALLOC if s.geometry.extended_l2 else not entry & OFLAG_ZERO
        if has_data:
            self._wrong(
                f"ERROR offset={offset:x}: Data cluster is not properly aligned; L2 entry"
                " corrupted."
            )
            return True
        self._wrong(
            f"{verb(fix=self._fix)} offset={offset:x}: Preallocated cluster is not properly"
            " aligned; L2 entry corrupted."
        )
        return not self._fix or not await self._zero_entry(table, l2_offset, index, active=active)

    async def _zero_entry(
        self, table: array[int], l2_offset: int, index: int, *, active: bool
    ) -> bool:
        """Have an entry read as zeroes, without a cluster; returns whether that worked.

        :raises _Overlap: it must not be written there
        """
        s = self._s
        size = s.geometry.l2_entry_size
        width = size // ENTRY_SIZE
        if width == 2:
            bitmap = table[2 * index + 1]
            table[2 * index + 1] = (bitmap | bitmap << 32) & ALL_ZEROES
            table[2 * index] = 0
        else:
            table[index] = OFLAG_ZERO
        where = l2_offset + index * size
        try:
            await pre_write_overlap_check(s, ACTIVE_L2 if active else INACTIVE_L2, where, size)
        except BlockIOError as error:
            say(s, "ERROR: Overlap check failed")
            self._result.check_errors += 1
            raise _Overlap from error
        try:
            raw = encode_entries(table[index * width : (index + 1) * width])
            await s.pwrite_sync(where, raw)
        except BlockIOError as error:
            say(s, f"ERROR: Failed to overwrite L2 table entry: {error.desc}")
            self._result.check_errors += 1
            return False
        self._result.fixed_one()
        return True

    async def _count_bitmaps(self) -> None:
        s = self._s
        extension = s.header.bitmaps
        if extension is None:
            return
        await self.add_long(extension.directory_offset, extension.directory_size)
        try:
            for entry in await load_directory(s):
                await self._count_bitmap(entry)
        except QmpError as error:
            self._result.corruptions += 1
            number = error.errno if isinstance(error, BlockIOError) else errno.EINVAL
            raise BlockIOError(number) from error

    async def _count_bitmap(self, entry: StoredBitmap) -> None:
        s = self._s
        size = entry.table_size * ENTRY_SIZE
        await self.add_long(entry.table_offset, size)
        for _, piece in pieces(await load_table(s, entry), AT_A_TIME):
            await s.rest()
            for item in piece:
                if item & TABLE_OFFSET_MASK:
                    self.add(item & TABLE_OFFSET_MASK, s.geometry.cluster_size)

    async def _count_block(self, index: int, entry: int) -> None:
        """Count a refcount block, which must be counted once (check_refblocks)."""
        geometry = self._s.geometry
        offset = entry & REFT_OFFSET_MASK
        cluster = offset >> geometry.cluster_bits
        if entry & TABLE_RESERVED:
            self._wrong(f"ERROR refcount table entry {index} has reserved bits set")
            self.rebuild = True
        elif geometry.offset_into_cluster(offset):
            self._wrong(
                f"ERROR refcount block {index} is not cluster aligned; refcount table entry"
                " corrupted"
            )
            self.rebuild = True
        elif cluster >= len(self.counts):
            self._wrong(f"{verb(fix=self._fix)} refcount block {index} is outside image")
            if self._fix:
                await self._include(offset)
        else:
            self.add(offset, geometry.cluster_size)
            if self.counts[cluster] != 1:
                self._wrong(f"ERROR refcount block {index} refcount={self.counts[cluster]}")
                self.rebuild = True

    async def _include(self, offset: int) -> None:
        """Let the file reach to the end of a refcount block that lies outside."""
        s = self._s
        size = s.geometry.cluster_size
        try:
            if offset > INT64_MAX - size:
                raise BlockIOError(errno.EINVAL)
            try:
                await s.file.truncate(offset + size, exact=False)
            except BlockIOError as error:
                log.error("%s", error.desc)
                raise
            self.reach(s.geometry.clusters(s.file.length))
            if offset >> s.geometry.cluster_bits >= len(self.counts):
                raise BlockIOError(errno.EINVAL)
        except BlockIOError as error:
            self.rebuild = True
            say(s, f"ERROR could not resize image: {BlockIOError(error.errno).desc}")
            return
        self._result.fixed_one()
        self.add(offset, size)
