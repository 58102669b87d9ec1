"""Dirty bitmaps: which parts of a node were written.

One `DirtyBitmap` keeps a bit for every granule of its node, in a roaring
bitmap: sparse ones and ones made of long runs take kilobytes at any size.
All offsets and lengths are bytes.  Copies for undo share the bits until one
side changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NewType

from pyroaring import BitMap64

from qmpd.base.bits import next_set

from . import roaring, roaring_hash
from .roaring_scale import coarser, finer

DEFAULT_GRANULARITY = 65536
"""Bytes per bit where the node reports no cluster size."""

MINIMUM_GRANULARITY = 512
MAXIMUM_NAME_BYTES = 1023

Saved = NewType("Saved", object)
"""Bits kept for undo; `DirtyBitmap.restore` puts them back."""

_OPTIMIZE_EVERY = 1 << 15


class DirtyBitmap:
    """The bits of one dirty bitmap, and its flags (QEMU's BdrvDirtyBitmap).

    :param size: length of the node, bytes
    :param granularity: bytes per bit, a power of two of at least 512
    :param name: None for an anonymous bitmap
    :param enabled: whether writes are recorded
    :param persistent: whether the format driver stores it when the node is closed

    `busy`: in use by a job or an export.  `readonly`: loaded from an image that
    is open read-only.  `inconsistent`: found marked in-use, contents lost.
    `skip_store`: a removal is under way, do not store it.  `successor`: the
    anonymous bitmap that records while this one is frozen.
    """

    __slots__ = (
        "_bits",
        "_granules",
        "_marks",
        "_shared",
        "_shift",
        "busy",
        "enabled",
        "granularity",
        "inconsistent",
        "name",
        "persistent",
        "readonly",
        "size",
        "skip_store",
        "successor",
    )

    def __init__(
        self,
        size: int,
        granularity: int,
        name: str | None = None,
        *,
        enabled: bool = True,
        persistent: bool = False,
    ) -> None:
        self.size = size
        self.granularity = granularity
        self.name = name
        self.enabled = enabled
        self.persistent = persistent
        self.readonly = False
        self.inconsistent = False
        self.busy = False
        self.skip_store = False
        self.successor: DirtyBitmap | None = None
        self._shift = granularity.bit_length() - 1
        self._granules = -(-size // granularity)
        self._bits = BitMap64()
        self._shared = False
        self._marks = 0

    def __repr__(self) -> str:
        return f"<DirtyBitmap {self.name!r} size={self.size} granularity={self.granularity}>"

    # Flags

    @property
    def recording(self) -> bool:
        """What queries call recording: a frozen bitmap records through its successor."""
        return self.enabled or (self.successor is not None and self.successor.enabled)

    def info(self) -> dict[str, object]:
        """The BlockDirtyInfo of this bitmap, members in schema order."""
        info: dict[str, object] = {} if self.name is None else {"name": self.name}
        info["count"] = self.count
        info["granularity"] = self.granularity
        info["recording"] = self.recording
        info["busy"] = self.busy
        info["persistent"] = self.persistent
        if self.inconsistent:
            info["inconsistent"] = True
        return info

    # Single areas

    def mark(self, offset: int, length: int) -> None:
        """A write touched ``offset .. offset + length - 1``: set its granules if recording."""
        if self.enabled and length > 0:
            self.set(offset, length)

    def set(self, offset: int, length: int) -> None:
        """Set every granule that ``offset .. offset + length - 1`` touches."""
        end = ((offset + length - 1) >> self._shift) + 1
        if self._shared:
            self._own()
        self._bits.add_range(offset >> self._shift, end if end < self._granules else self._granules)
        self._marks += 1
        if self._marks > _OPTIMIZE_EVERY:
            self._optimize()

    def reset(self, offset: int, length: int) -> None:
        """Clear every granule that ``offset .. offset + length - 1`` touches."""
        if self._shared:
            self._own()
        if length > 0:
            end = ((offset + length - 1) >> self._shift) + 1
            self._bits.remove_range(offset >> self._shift, end)

    def is_dirty(self, offset: int) -> bool:
        """Whether the granule of byte `offset` is set."""
        return offset >> self._shift in self._bits

    def all_dirty(self, offset: int, length: int) -> bool:
        """Whether every granule that ``offset .. offset + length - 1`` touches is set."""
        first, end = self._granule_range(offset, length)
        return self._bits.range_cardinality(first, end) == end - first

    def next_dirty(self, offset: int) -> int | None:
        """The first dirty byte at or behind `offset`, None when there is none."""
        granule = self._next_set(offset >> self._shift)
        return None if granule >= self._granules else max(offset, granule << self._shift)

    def next_clean(self, offset: int) -> int | None:
        """The first clean byte at or behind `offset`, None when there is none."""
        # By counting: contains_range of pyroaring 1.2 errs where a range spans containers.
        first = offset >> self._shift
        step = 1
        while first < self._granules:
            end = min(first + step, self._granules)
            if self._bits.range_cardinality(first, end) == end - first:
                first, step = end, step * 2
            elif step == 1:
                return max(offset, first << self._shift)
            else:
                step = max(1, (end - first) // 2)
        return None

    # The whole bitmap

    @property
    def count(self) -> int:
        """Dirty granules times granularity, bytes; may exceed `size` in the last granule."""
        return len(self._bits) << self._shift

    @property
    def empty(self) -> bool:
        """Whether no bit is set."""
        return not self._bits

    def clear(self) -> Saved:
        """Clear all bits; returns the old ones for `restore`."""
        saved = self._bits
        self._bits = BitMap64()
        self._marks = 0
        # Whoever shared the old bits with this bitmap still sees them as shared.
        self._shared = False
        return Saved(saved)

    def save(self) -> Saved:
        """The bits as they are now, for `restore`; costs nothing until they change."""
        self._shared = True
        return Saved(self._bits)

    def restore(self, saved: Saved) -> None:
        """Put back what `clear`, `merge_from` or `save` returned."""
        assert isinstance(saved, BitMap64)
        # Whoever holds `saved` may restore it again.
        self._bits = saved
        self._shared = True
        self._marks = 0

    def merge_from(self, source: DirtyBitmap) -> Saved:
        """Set every granule that overlaps a dirty granule of `source`, which has the same size.

        :returns: the old bits, for `restore`
        """
        saved = self.save()
        if source is self or not source._bits:
            return saved
        if source._shift == self._shift:
            if self._bits:
                self._bits = self._bits | source._bits
                self._shared = False
            else:
                source._shared = True
                self._bits = source._bits
            return saved
        difference = self._shift - source._shift
        if difference > 0:
            scaled = coarser(source._bits, difference)
        else:
            scaled = finer(source._bits, -difference)
            scaled.remove_range(self._granules, source._granules << -difference)
        self._bits = self._bits | scaled
        self._shared = False
        return saved

    def resize(self, size: int) -> None:
        """The node has `size` bytes now: drop the bits behind its end, add clean ones."""
        self.size = size
        granules = -(-size // self.granularity)
        if granules < self._granules:
            self._own()
            self._bits.remove_range(granules, self._granules)
        self._granules = granules

    def extents(self, offset: int = 0, length: int | None = None) -> Iterator[tuple[int, int]]:
        """The maximal dirty extents as (offset, length), clipped to the range and to `size`.

        The bitmap must not change while it is iterated.
        """
        end = self.size if length is None else min(self.size, offset + length)
        first, last = self._granule_range(offset, end - offset)
        shift = self._shift
        for start, stop in roaring.runs(self._bits, first, last):
            low = max(offset, start << shift)
            yield low, min(end, stop << shift) - low

    def sha256(self) -> str:
        """Hash of the bit string, zero padded to a multiple of 8 bytes, at least 8; hex."""
        return roaring_hash.sha256(self._bits, self._granules)

    def hashing(self) -> Callable[[], str]:
        """What returns the hash of the bits as they are now; a thread may call it."""
        self._shared = True
        return partial(roaring_hash.sha256, self._bits, self._granules)

    @property
    def hashed_bytes(self) -> int:
        """How many bytes the hash is of."""
        return roaring_hash.hashed_bytes(self._granules)

    # Storing and loading: the format driver walks the bitmap in chunks of its own size

    def chunk(self, offset: int, length: int) -> bytes:
        """The bits of an area as a little-endian bit string, bit 0 for the granule of `offset`.

        :param offset: multiple of 8 granules
        :param length: bytes of the node; what lies behind `size` is left out
        :returns: one bit per granule, padded with zeroes to a whole byte
        """
        first, end = self._granule_range(offset, length)
        return roaring.to_bytes(self._bits, first, max(0, end - first))

    def load_chunk(self, offset: int, data: bytes) -> None:
        """Set the bits that are set in `data`, laid out as `chunk` returns it.

        Bits behind the end of the bitmap are dropped.
        """
        self._own()
        first = offset >> self._shift
        self._bits |= roaring.from_bytes(data, first)
        if first + 8 * len(data) > self._granules:
            self._bits.remove_range(self._granules, first + 8 * len(data))

    # Inside

    def _granule_range(self, offset: int, length: int) -> tuple[int, int]:
        """First granule of an area and the one behind its last, inside the bitmap."""
        first = min(self._granules, offset >> self._shift)
        if length <= 0:
            return first, first
        return first, min(self._granules, ((offset + length - 1) >> self._shift) + 1)

    def _next_set(self, granule: int) -> int:
        """The first set granule at or behind `granule`, the number of granules if none."""
        found = next_set(self._bits, granule)
        return self._granules if found is None else found

    def _own(self) -> None:
        """Make the bits this bitmap's alone, before they change."""
        if self._shared:
            self._bits = self._bits.copy()
            self._shared = False

    def _optimize(self) -> None:
        """Turn containers into runs where that is shorter; many small writes fill them."""
        self._bits.run_optimize()
        self._marks = 0
