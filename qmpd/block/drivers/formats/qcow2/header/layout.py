"""Constants of the qcow2 format, and the arithmetic of the geometry of an image.

Nothing here does I/O.  Offsets and sizes are in bytes unless a name says
otherwise; table indexes count entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MAGIC = b"QFI\xfb"
MIN_CLUSTER_BITS = 9
MAX_CLUSTER_BITS = 21
DEFAULT_CLUSTER_SIZE = 65536
ENTRY_SIZE = 8
"""Bytes of an entry of the L1, refcount and bitmap tables."""

MAX_SNAPSHOTS = 65536
MAX_SNAPSHOTS_SIZE = 1024 * MAX_SNAPSHOTS
MAX_SNAPSHOT_EXTRA_DATA = 1024
MAX_CLUSTER_OFFSET = (1 << 56) - 1
MAX_REFTABLE_SIZE = 8 << 20
MAX_L1_SIZE = 32 << 20
MAX_BITMAPS = 65535
MAX_BITMAP_DIRECTORY_SIZE = 1024 * MAX_BITMAPS
MAX_BACKING_NAME = 1023
SUBCLUSTERS_PER_CLUSTER = 32
COMPRESSED_SECTOR = 512

INT64_MAX = (1 << 63) - 1
MAX_LENGTH = INT64_MAX & ~((1 << 30) - 1)
"""QEMU's largest node, in bytes."""

OFLAG_COPIED = 1 << 63
OFLAG_COMPRESSED = 1 << 62
OFLAG_ZERO = 1
OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00
"""Offset bits of an L1 or a standard L2 entry."""
REFT_OFFSET_MASK = 0xFFFF_FFFF_FFFF_FE00
ALL_ALLOC = (1 << 32) - 1
"""Bitmap of an extended L2 entry: every subcluster allocated."""
ALL_ZEROES = ALL_ALLOC << 32
"""Bitmap of an extended L2 entry: every subcluster reads as zeroes."""

INCOMPAT_DIRTY = 1 << 0
INCOMPAT_CORRUPT = 1 << 1
INCOMPAT_DATA_FILE = 1 << 2
INCOMPAT_COMPRESSION = 1 << 3
INCOMPAT_EXTL2 = 1 << 4
INCOMPAT_MASK = 0x1F
COMPAT_LAZY_REFCOUNTS = 1 << 0
AUTOCLEAR_BITMAPS = 1 << 0
AUTOCLEAR_DATA_FILE_RAW = 1 << 1
AUTOCLEAR_MASK = 0x3

COMPRESSION_TYPES = ("zlib", "zstd")
"""Names of the header's compression types, by number."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Everything that follows from the cluster size and the widths of refcounts and L2 entries.

    :param cluster_bits: log2 of the cluster size, 9..21
    :param refcount_order: log2 of the refcount width in bits, 0..6
    :param extended_l2: whether L2 entries carry a subcluster bitmap
    """

    cluster_bits: int
    refcount_order: int = 4
    extended_l2: bool = False
    cluster_size: int = field(init=False)
    l2_entry_size: int = field(init=False)
    l2_size: int = field(init=False)
    l1_shift: int = field(init=False)
    subclusters_per_cluster: int = field(init=False)
    subcluster_size: int = field(init=False)
    subcluster_bits: int = field(init=False)
    refcount_bits: int = field(init=False)
    refcount_max: int = field(init=False)
    refcount_block_bits: int = field(init=False)
    refcount_block_size: int = field(init=False)
    csize_shift: int = field(init=False)
    csize_mask: int = field(init=False)

    def __post_init__(self) -> None:
        bits = self.cluster_bits
        entry_bits = 4 if self.extended_l2 else 3
        subclusters = SUBCLUSTERS_PER_CLUSTER if self.extended_l2 else 1
        derived = {
            "cluster_size": 1 << bits,
            "l2_entry_size": 1 << entry_bits,
            "l2_size": 1 << (bits - entry_bits),
            "l1_shift": bits + bits - entry_bits,
            "subclusters_per_cluster": subclusters,
            "subcluster_size": (1 << bits) // subclusters,
            "subcluster_bits": bits - subclusters.bit_length() + 1,
            "refcount_bits": 1 << self.refcount_order,
            "refcount_max": (1 << (1 << self.refcount_order)) - 1,
            "refcount_block_bits": bits - (self.refcount_order - 3),
            "refcount_block_size": 1 << (bits - (self.refcount_order - 3)),
            "csize_shift": 62 - (bits - 8),
            "csize_mask": (1 << (bits - 8)) - 1,
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def cluster_offset_mask(self) -> int:
        """Offset bits of a compressed cluster's descriptor."""
        return (1 << self.csize_shift) - 1

    def clusters(self, size: int) -> int:
        """Number of clusters for `size` bytes."""
        return (size + self.cluster_size - 1) >> self.cluster_bits

    def start_of_cluster(self, offset: int) -> int:
        """`offset` rounded down to its cluster."""
        return offset & ~(self.cluster_size - 1)

    def offset_into_cluster(self, offset: int) -> int:
        """Distance of `offset` from the start of its cluster."""
        return offset & (self.cluster_size - 1)

    def round_up(self, size: int) -> int:
        """`size` rounded up to whole clusters."""
        return -(-size >> self.cluster_bits) << self.cluster_bits

    def l1_entries(self, size: int) -> int:
        """L1 entries that a virtual disk of `size` bytes needs."""
        return (size + (1 << self.l1_shift) - 1) >> self.l1_shift

    def sc_index(self, offset: int) -> int:
        """Index of the subcluster of `offset` in its cluster (0 without extended L2)."""
        return (offset >> self.subcluster_bits) & (self.subclusters_per_cluster - 1)

    def compressed_extent(self, entry: int) -> tuple[int, int]:
        """Host offset and length in bytes of a compressed cluster's data, from its L2 entry."""
        offset = entry & self.cluster_offset_mask
        sectors = ((entry >> self.csize_shift) & self.csize_mask) + 1
        return offset, sectors * COMPRESSED_SECTOR - (offset & (COMPRESSED_SECTOR - 1))


def refcount_metadata_size(
    clusters: int, cluster_size: int, refcount_order: int, *, generous: bool
) -> tuple[int, int]:
    """Size of the refcount table and blocks that count `clusters` clusters and themselves.

    :param clusters: clusters to count, without the refcount structures
    :param generous: make the table half as large again
    :returns: bytes of table and blocks together; number of blocks
    """
    blocks_per_table_cluster = cluster_size // ENTRY_SIZE
    refcounts_per_block = cluster_size * 8 // (1 << refcount_order)
    table = blocks = total = 0
    while True:
        last = total
        blocks = -(-(clusters + table + blocks) // refcounts_per_block)
        table = -(-blocks // blocks_per_table_cluster)
        total = clusters + blocks + table
        if total != last:
            continue
        if not generous:
            return (blocks + table) * cluster_size, blocks
        clusters += -(-table // 2)
        generous = False
        total = 0
