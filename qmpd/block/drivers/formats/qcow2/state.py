"""The state of an open image in memory (BDRVQcow2State)."""

from __future__ import annotations

import errno
from array import array
from collections import Counter, deque
from typing import TYPE_CHECKING

from qmpd.base.sizes import SECTOR
from qmpd.block.drivers.formats.qcow2.header.fields import Header
from qmpd.block.drivers.formats.qcow2.header.header import (
    OFFSET_INCOMPATIBLE,
    check_compression_type,
    encode_header,
)
from qmpd.block.drivers.formats.qcow2.header.layout import (
    AUTOCLEAR_DATA_FILE_RAW,
    INCOMPAT_CORRUPT,
    INCOMPAT_DIRTY,
    OFFSET_MASK,
    REFT_OFFSET_MASK,
    Geometry,
)
from qmpd.block.drivers.formats.qcow2.lock import CoMutex
from qmpd.block.drivers.formats.qcow2.tables.cache import used_bytes
from qmpd.block.drivers.formats.qcow2.tables.entries import EntryRules
from qmpd.block.drivers.formats.qcow2.tables.long import pieces
from qmpd.block.model.layer import Layer
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from collections.abc import Set

    from qmpd.block.drivers.formats.qcow2.options import RuntimeOptions
    from qmpd.block.drivers.formats.qcow2.tables.cache import TableCache
    from qmpd.block.drivers.formats.qcow2.tables.held import HeldFile
    from qmpd.block.drivers.formats.qcow2.tables.l2_meta import L2Meta
    from qmpd.block.drivers.formats.qcow2.tables.snapshot import Snapshot
    from qmpd.block.model.node import Node


class Qcow2State(Layer):
    """An open image.

    Tables are kept as numbers: `l1` and `refcount_table` are arrays of 64-bit entries
    as the format has them.  `size` is the virtual size in bytes, always whole sectors.

    `freed`: spans the clusters freed since the L2 tables were last written and flushed.
    `closing`: the L1 table is given up already; QEMU does not check what it refers to any more.
    `bitmaps_void`: the header has a bitmaps extension that is no longer valid.
    `held`: takes the writes of metadata while they are held back.
    `overlaps_are_quiet`: a cached table that lies where other metadata is fails to be written, and
    that is all.

    :param node: the node this image is
    :param header: the decoded header, kept up to date
    """

    l2_cache: TableCache
    refcount_cache: TableCache
    options: RuntimeOptions
    l2_slice_size: int

    def __init__(self, node: Node, header: Header, geometry: Geometry) -> None:
        self.node = node
        self.header = header
        self.geometry = geometry
        self.size = header.size // SECTOR * SECTOR
        self.knows_data_file = False
        self.has_data_file = False
        self.rules = EntryRules(extended_l2=geometry.extended_l2, data_file=False)
        self.l1: array[int] = array("Q")
        self.l1_vm_state_index = 0
        self.refcount_table: array[int] = array("Q")
        self.max_refcount_table_index = 0
        self.free_cluster_index = 0
        self.free_byte_offset = 0
        self.freed: range = range(0)
        self.snapshots: list[Snapshot] = []
        self.snapshots_size = 0
        self.discards: list[list[int]] = []
        self.cache_discards = False
        self.cluster_allocs: deque[L2Meta] = deque()
        self.lock = CoMutex()
        self.signaled_corruption = False
        self.unusable = False
        self.metadata_preallocation: bool | None = None
        self.closing = False
        self.bitmaps_void = False
        self.held: HeldFile | None = None
        self.overlaps_are_quiet = False
        self._l2_tables: Counter[int] | None = None
        self._refcount_blocks: set[int] | None = None

    @property
    def file(self) -> Node | HeldFile:
        """The file with the metadata, as it will be where writes are held back."""
        return self.node.children["file"].node if self.held is None else self.held

    @property
    def file_node(self) -> Node:
        """The node with the metadata."""
        return self.node.children["file"].node

    @property
    def data_file(self) -> Node:
        """The node with the data clusters; the same as `file` without an external data file."""
        return self.node.children["data-file" if self.has_data_file else "file"].node

    def use_data_file(self) -> None:
        """Switch to data clusters in the `data-file` child."""
        self.has_data_file = True
        self.rules = EntryRules(extended_l2=self.geometry.extended_l2, data_file=True)

    @property
    def backing(self) -> Node | None:
        """The backing node, if the image has one."""
        edge = self.node.children.get("backing")
        return None if edge is None else edge.node

    @property
    def caches(self) -> tuple[TableCache, TableCache]:
        """Of L2 tables, and of refcount blocks."""
        return self.l2_cache, self.refcount_cache

    @property
    def table_uses(self) -> int:
        """How often metadata was read from the file, or written to it, by the caches of tables."""
        return self.l2_cache.file_uses + self.refcount_cache.file_uses

    @property
    def writable(self) -> bool:
        """Whether the node may be written (QEMU's bdrv_is_writable)."""
        return not self.node.read_only and self.node.active

    @property
    def data_file_raw(self) -> bool:
        """Whether the data file must be readable as a raw image."""
        return bool(self.header.autoclear & AUTOCLEAR_DATA_FILE_RAW)

    @property
    def accurate_refcounts(self) -> bool:
        """Whether refcounts on disk must be right before they are needed (not lazy)."""
        return not self.header.incompatible & INCOMPAT_DIRTY

    @property
    def vm_state_offset(self) -> int:
        """Virtual offset where VM state begins, beyond the disk."""
        return self.l1_vm_state_index << self.geometry.l1_shift

    async def rest(self) -> None:
        """Let others have their turn, if a command is at work that has taken long."""
        await self.node.services.loop.completions.rest()

    def event(self, name: str) -> None:
        """Report a debug event to the file node's driver (BLKDBG_EVENT)."""
        driver = self.node.children["file"].node.driver
        if driver.capabilities.hears_events:
            driver.debug_event(name)

    # The clusters of L2 tables and of refcount blocks, for overlap checks: they are found at their
    # first use.  Those of L2 tables follow changes, those of blocks additions only.

    @property
    def l2_tables(self) -> Set[int]:
        """File offsets of the clusters of the L2 tables of the active L1 table."""
        tables = self._l2_tables
        if tables is None:
            tables = self._clusters_of(_offsets(self.l1, OFFSET_MASK))
            self._l2_tables = tables
        return tables.keys()

    @property
    def refcount_blocks(self) -> Set[int]:
        """File offsets of the clusters of the refcount blocks."""
        blocks = self._refcount_blocks
        if blocks is None:
            used = self.refcount_table[: self.max_refcount_table_index + 1]
            blocks = set(self._clusters_of(_offsets(used, REFT_OFFSET_MASK)))
            self._refcount_blocks = blocks
        return blocks

    def _clusters_of(self, touched: Counter[int]) -> Counter[int]:
        """How many of these tables touch which clusters.

        A table is one cluster; in a damaged image it may touch two.

        :param touched: the offsets of the tables; 0 is none
        """
        del touched[0]
        size = self.geometry.cluster_size
        # not by addition: a counter is slow to tell that it has nothing yet
        known = touched.get
        for table in [table for table in touched if table % size]:
            count, first = touched.pop(table), table - table % size
            touched[first] = known(first, 0) + count
            touched[first + size] = known(first + size, 0) + count
        return touched

    def set_l1(self, table: array[int]) -> None:
        """Replace the L1 table in memory."""
        self.l1 = table
        self._l2_tables = None

    def grow_l1(self, table: array[int]) -> None:
        """Replace the L1 table in memory by one with the same entries, and empty ones behind."""
        self.l1 = table

    def set_l1_entry(self, index: int, entry: int) -> None:
        """Change one L1 entry in memory."""
        tables = self._l2_tables
        if tables is not None:
            tables.update(self._clusters_of(Counter((entry & OFFSET_MASK,))))
            before = Counter((self.l1[index] & OFFSET_MASK,))
            for cluster, count in self._clusters_of(before).items():
                tables[cluster] -= count
                if not tables[cluster]:
                    del tables[cluster]
        self.l1[index] = entry

    def set_refcount_table(self, table: array[int]) -> None:
        """Replace the refcount table in memory."""
        self.refcount_table = table
        self._refcount_blocks = None
        index = max(used_bytes(table.tobytes()) // table.itemsize - 1, 0)
        while index > 0 and not table[index] & REFT_OFFSET_MASK:
            index -= 1
        self.max_refcount_table_index = index

    def set_refcount_block(self, index: int, offset: int) -> None:
        """Enter the refcount block at file offset `offset` (0: none) in the table in memory."""
        if offset and self._refcount_blocks is not None and not self.refcount_table[index]:
            self._refcount_blocks.add(offset)
        else:
            self._refcount_blocks = None
        self.refcount_table[index] = offset
        if offset:
            self.max_refcount_table_index = max(self.max_refcount_table_index, index)

    def forget_tables(self) -> None:
        """Give back what was read from the image, which is closed: up to 40 MiB."""
        self.set_l1(array("Q"))
        self.refcount_table = array("Q")
        self._refcount_blocks = None
        self.snapshots = []
        self.l2_cache.forget()
        self.refcount_cache.forget()

    async def update_header(self) -> None:
        """Write the header with all its extensions.

        :raises BlockIOError: it does not fit into a cluster, or the write failed
        """
        check_compression_type(self.header)
        header = self.header
        header.l1_size = len(self.l1)
        header.size = self.size
        header.nb_snapshots = len(self.snapshots)
        header.refcount_table_clusters = len(self.refcount_table) >> (
            self.geometry.cluster_bits - 3
        )
        await self.file.pwrite(0, encode_header(header))

    async def pwrite_sync(self, offset: int, data: bytes) -> None:
        """Write metadata and flush the file."""
        file = self.file
        await file.pwrite(offset, data)
        await file.flush()

    async def mark_dirty(self) -> None:
        """Set the dirty bit (refcounts are lazy from now on) before anything relies on it."""
        if self.header.incompatible & INCOMPAT_DIRTY:
            return
        value = self.header.incompatible | INCOMPAT_DIRTY
        await self.pwrite_sync(OFFSET_INCOMPATIBLE, value.to_bytes(8, "big"))
        self.header.incompatible = value

    async def mark_clean(self) -> None:
        """Clear the dirty bit, after writing the refcounts."""
        if self.header.incompatible & INCOMPAT_DIRTY:
            self.header.incompatible &= ~INCOMPAT_DIRTY
            await self.flush_caches()
            await self.update_header()

    async def mark_consistent(self) -> None:
        """Clear the corrupt bit."""
        if self.header.incompatible & INCOMPAT_CORRUPT:
            await self.flush_caches()
            self.header.incompatible &= ~INCOMPAT_CORRUPT
            await self.update_header()

    def note_freed(self, cluster_index: int) -> None:
        """Remember that L2 tables on disk may still refer to this cluster."""
        freed = self.freed
        if not freed:
            self.freed = range(cluster_index, cluster_index + 1)
        elif cluster_index not in freed:
            low, high = min(freed.start, cluster_index), max(freed.stop, cluster_index + 1)
            self.freed = range(low, high)

    async def write_caches(self) -> None:
        """Write changed L2 tables, then refcount blocks unless they are lazy."""
        await self.l2_cache.write()
        if self.accurate_refcounts:
            await self.refcount_cache.write()

    async def flush_caches(self) -> None:
        """Write changed metadata and flush the file."""
        freed = self.freed
        await self.write_caches()
        await self.file.flush()
        if self.freed == freed:
            self.freed = range(0)

    def check_usable(self) -> None:
        """Fail if the image was found to be corrupt.

        :raises BlockIOError: ENOMEDIUM
        """
        if self.unusable:
            raise BlockIOError(errno.ENOMEDIUM)


def _offsets(table: array[int], mask: int) -> Counter[int]:
    """How often the entries of a table that are not empty name which offset.

    There may be four million, of which most are empty, or the same.
    """
    entries: Counter[int] = Counter()
    for _, piece in pieces(table):
        used = -(-used_bytes(piece.tobytes()) // piece.itemsize)
        if used:
            entries.update(piece[:used])
    offsets: Counter[int] = Counter()
    known = offsets.get
    for entry, count in entries.items():
        offset = entry & mask
        offsets[offset] = known(offset, 0) + count
    return offsets
