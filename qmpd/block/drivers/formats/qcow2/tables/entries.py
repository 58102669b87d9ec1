"""L2 entries: the type of a cluster and of its subclusters (docs/interop/qcow2.rst)."""

from __future__ import annotations

from enum import IntEnum

from qmpd.block.drivers.formats.qcow2.header.layout import (
    ALL_ALLOC,
    OFFSET_MASK,
    OFLAG_COMPRESSED,
    OFLAG_COPIED,
    OFLAG_ZERO,
    SUBCLUSTERS_PER_CLUSTER,
)


class Cluster(IntEnum):
    """Type of a whole cluster."""

    UNALLOCATED = 0
    ZERO_PLAIN = 1
    ZERO_ALLOC = 2
    NORMAL = 3
    COMPRESSED = 4


class Subcluster(IntEnum):
    """Type of a subcluster; without extended L2 entries a cluster is its own subcluster."""

    UNALLOCATED_PLAIN = 0
    UNALLOCATED_ALLOC = 1
    ZERO_PLAIN = 2
    ZERO_ALLOC = 3
    NORMAL = 4
    COMPRESSED = 5
    INVALID = 6


READS_AS_ZERO = frozenset({Subcluster.ZERO_PLAIN, Subcluster.ZERO_ALLOC})
UNALLOCATED = frozenset({Subcluster.UNALLOCATED_PLAIN, Subcluster.UNALLOCATED_ALLOC})
HAS_OFFSET = frozenset({Subcluster.NORMAL, Subcluster.ZERO_ALLOC, Subcluster.UNALLOCATED_ALLOC})
ALLOCATED_CLUSTERS = frozenset({Cluster.COMPRESSED, Cluster.NORMAL, Cluster.ZERO_ALLOC})

_SAME_SUBCLUSTER = {
    Cluster.UNALLOCATED: Subcluster.UNALLOCATED_PLAIN,
    Cluster.ZERO_PLAIN: Subcluster.ZERO_PLAIN,
    Cluster.ZERO_ALLOC: Subcluster.ZERO_ALLOC,
    Cluster.NORMAL: Subcluster.NORMAL,
    Cluster.COMPRESSED: Subcluster.COMPRESSED,
}


def alloc_range(first: int, last: int) -> int:
    """Bitmap with the "allocated" bits of subclusters `first` to `last` - 1."""
    return (1 << last) - (1 << first)


def zero_range(first: int, last: int) -> int:
    """Bitmap with the "reads as zeroes" bits of subclusters `first` to `last` - 1."""
    return alloc_range(first, last) << 32


def count_trailing_zeros(value: int) -> int:
    """Number of clear bits below the lowest set one; 32 when the low 32 bits are clear."""
    value &= ALL_ALLOC
    return (value & -value).bit_length() - 1 if value else SUBCLUSTERS_PER_CLUSTER


def count_leading_zeros(value: int) -> int:
    """Number of clear bits above the highest set one of 32."""
    return SUBCLUSTERS_PER_CLUSTER - (value & ALL_ALLOC).bit_length()


class EntryRules:
    """How to interpret the L2 entries of an image.

    :param extended_l2: whether a subcluster bitmap follows each entry
    :param data_file: whether clusters live in an external data file, where offset 0 is valid
    """

    __slots__ = ("data_file", "extended_l2", "subclusters")

    def __init__(self, *, extended_l2: bool, data_file: bool) -> None:
        self.extended_l2 = extended_l2
        self.data_file = data_file
        self.subclusters = SUBCLUSTERS_PER_CLUSTER if extended_l2 else 1

    def cluster_type(self, entry: int) -> Cluster:
        """Type of the cluster that `entry` describes."""
        if entry & OFLAG_COMPRESSED:
            return Cluster.COMPRESSED
        if entry & OFLAG_ZERO and not self.extended_l2:
            return Cluster.ZERO_ALLOC if entry & OFFSET_MASK else Cluster.ZERO_PLAIN
        if entry & OFFSET_MASK or (self.data_file and entry & OFLAG_COPIED):
            return Cluster.NORMAL
        return Cluster.UNALLOCATED

    def subcluster_type(self, entry: int, bitmap: int, index: int) -> Subcluster:
        """Type of subcluster `index`; INVALID when any bit of the entry contradicts another."""
        kind = self.cluster_type(entry)
        if not self.extended_l2 or kind is Cluster.COMPRESSED:
            return _SAME_SUBCLUSTER[kind]
        zero = bool(bitmap >> 32 >> index & 1)
        if kind is Cluster.NORMAL:
            if (bitmap >> 32) & bitmap:
                return Subcluster.INVALID
            if zero:
                return Subcluster.ZERO_ALLOC
            allocated = bitmap >> index & 1
            return Subcluster.NORMAL if allocated else Subcluster.UNALLOCATED_ALLOC
        if bitmap & ALL_ALLOC:
            return Subcluster.INVALID
        return Subcluster.ZERO_PLAIN if zero else Subcluster.UNALLOCATED_PLAIN

    def range_type(self, entry: int, bitmap: int, first: int) -> tuple[Subcluster, int]:
        """Type of subcluster `first`, and how many from there on in the cluster have it."""
        kind = self.subcluster_type(entry, bitmap, first)
        if kind is Subcluster.INVALID:
            return kind, 0
        if not self.extended_l2 or kind is Subcluster.COMPRESSED:
            return kind, self.subclusters - first
        below = alloc_range(0, first)
        if kind is Subcluster.NORMAL:
            return kind, count_trailing_zeros(~(bitmap | below)) - first
        if kind in READS_AS_ZERO:
            return kind, count_trailing_zeros(~((bitmap >> 32) | below)) - first
        return kind, count_trailing_zeros(((bitmap >> 32) | bitmap) & ~below) - first

    def needs_new_alloc(self, entry: int) -> bool:
        """Whether a write must allocate a cluster: there is none with a refcount of one."""
        if not entry & OFLAG_COPIED or entry & OFLAG_COMPRESSED:
            return True
        return self.cluster_type(entry) not in (Cluster.NORMAL, Cluster.ZERO_ALLOC)
