"""A dirty bitmap's values: hashes known from QEMU, sizes, chunks, memory, undo."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from mmap import PAGESIZE
from pathlib import Path

import pytest
from pyroaring import BitMap64

from qmpd.block.bits.bitmap import DirtyBitmap

KIB = 1024
MIB = 1024 * KIB
TIB = MIB * MIB

EMPTY_8_BYTES = "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc"


def test_a_hash_is_of_the_bits_as_they_were() -> None:
    bitmap = DirtyBitmap(1 << 30, 512)
    bitmap.set(0, 1 << 20)
    before, hashing = bitmap.sha256(), bitmap.hashing()
    bitmap.set(1 << 25, 512)
    assert hashing() == before != bitmap.sha256()
    hashing = bitmap.hashing()
    changed = bitmap.sha256()
    bitmap.clear()
    bitmap.set(0, 512)
    assert hashing() == changed != bitmap.sha256()


@pytest.mark.parametrize(
    ("size", "granularity", "writes", "expected"),
    [
        # Recorded from qemu-system-x86_64 10.0.2.
        (0, 65536, [], EMPTY_8_BYTES),
        (MIB, 65536, [], EMPTY_8_BYTES),
        (
            1000448,
            512,
            [(999936, 1), (0, 1)],
            "6e9d387a08d3f7d0e5a943d9d845a9d98caa8df811cbf78757fdae0d43dbcf7c",
        ),
    ],
)
def test_sha256_is_that_of_qemu(
    size: int, granularity: int, writes: list[tuple[int, int]], expected: str
) -> None:
    bitmap = DirtyBitmap(size, granularity)
    for offset, length in writes:
        bitmap.mark(offset, length)
    assert bitmap.sha256() == expected


@pytest.mark.parametrize("seed", range(30))
def test_sha256_and_chunks_agree_with_plain_bytes(seed: int) -> None:
    chooser = random.Random(seed)
    granularity = 512 << chooser.randrange(6)
    size = chooser.choice([1, 3, 777, 40_000, 200_000]) * 512
    bitmap = DirtyBitmap(size, granularity)
    granules = -(-size // granularity)
    plain = bytearray(-(-granules // 64) * 8)
    for _ in range(chooser.choice([0, 1, 5, 300])):
        offset = chooser.randrange(size)
        length = min(size - offset, chooser.choice([1, 512, 100_000, 10_000_000]))
        bitmap.mark(offset, length)
        for bit in range(offset // granularity, (offset + length - 1) // granularity + 1):
            plain[bit >> 3] |= 1 << (bit & 7)
    assert bitmap.sha256() == hashlib.sha256(plain).hexdigest()
    used = (granules + 7) // 8
    assert bitmap.chunk(0, size) == bytes(plain[:used])
    step = chooser.choice([512, 8192, 8195])
    loaded = DirtyBitmap(size, granularity)
    for at in range(0, used, step):
        part = bitmap.chunk(at * 8 * granularity, step * 8 * granularity)
        assert part == bytes(plain[at : min(at + step, used)])
        loaded.load_chunk(at * 8 * granularity, part)
        first = bitmap.next_dirty(at * 8 * granularity)
        assert any(part) == (first is not None and first < (at + step) * 8 * granularity)
    assert loaded.sha256() == bitmap.sha256()
    assert loaded.count == bitmap.count


def test_bits_behind_the_end_are_dropped_when_loaded() -> None:
    bitmap = DirtyBitmap(3 * 65536, 65536)
    bitmap.load_chunk(0, b"\xff" * 8)
    assert bitmap.count == 3 * 65536
    bitmap.resize(64 * 65536)
    assert bitmap.count == 3 * 65536


def test_count_is_not_clipped() -> None:
    """A 1 MiB disk with one bit of 2 GiB says 2 GiB (bitmaps.md, as QEMU does)."""
    bitmap = DirtyBitmap(MIB, 1 << 31)
    bitmap.mark(5, 1)
    assert bitmap.count == 1 << 31
    assert list(bitmap.extents()) == [(0, MIB)]


def test_shrinking_drops_and_growing_adds_clean_bits() -> None:
    bitmap = DirtyBitmap(MIB, 65536)
    bitmap.mark(0, MIB)
    bitmap.resize(3 * 65536 - 512)
    assert bitmap.count == 3 * 65536
    assert list(bitmap.extents()) == [(0, 3 * 65536 - 512)]
    bitmap.resize(MIB)
    assert list(bitmap.extents()) == [(0, 3 * 65536)]
    bitmap.resize(0)
    assert bitmap.count == 0
    assert bitmap.sha256() == EMPTY_8_BYTES


def test_merge_across_granularities_keeps_to_the_end() -> None:
    """Observed on QEMU: 1000448 bytes, a bit of 1 MiB sets all 1954 granules of 512 bytes."""
    coarse = DirtyBitmap(1000448, MIB)
    coarse.mark(0, 1)
    fine = DirtyBitmap(1000448, 512)
    fine.merge_from(coarse)
    assert fine.count == 1000448
    again = DirtyBitmap(1000448, MIB)
    again.merge_from(fine)
    assert again.count == MIB


def test_looking_for_areas() -> None:
    bitmap = DirtyBitmap(100 * MIB, 4096)
    assert bitmap.next_dirty(0) is None
    assert bitmap.next_clean(0) == 0
    bitmap.mark(10 * MIB + 5, 50 * MIB)
    assert bitmap.next_dirty(0) == 10 * MIB
    assert bitmap.next_dirty(20 * MIB + 7) == 20 * MIB + 7
    assert bitmap.next_clean(10 * MIB) == 60 * MIB + 4096
    assert bitmap.next_dirty(60 * MIB + 4096) is None
    assert bitmap.is_dirty(60 * MIB)
    assert not bitmap.is_dirty(60 * MIB + 4096)
    assert bitmap.all_dirty(10 * MIB, 50 * MIB)
    assert not bitmap.all_dirty(10 * MIB - 1, 50 * MIB)
    assert list(bitmap.extents(15 * MIB, MIB)) == [(15 * MIB, MIB)]
    bitmap.reset(20 * MIB, 1)
    assert list(bitmap.extents(19 * MIB, 2 * MIB)) == [
        (19 * MIB, MIB),
        (20 * MIB + 4096, MIB - 4096),
    ]
    full = DirtyBitmap(100 * MIB, 4096)
    full.mark(0, 100 * MIB)
    assert full.next_clean(0) is None


def test_undo_shares_bits_until_they_change() -> None:
    bitmap = DirtyBitmap(MIB, 4096)
    bitmap.mark(0, 8192)
    saved = bitmap.save()
    bitmap.mark(MIB - 1, 1)
    assert bitmap.count == 3 * 4096
    bitmap.restore(saved)
    assert bitmap.count == 8192
    cleared = bitmap.clear()
    bitmap.mark(65536, 1)
    bitmap.restore(cleared)
    bitmap.mark(4096 * 10, 1)
    bitmap.restore(saved)
    assert list(bitmap.extents()) == [(0, 8192)]
    copy = DirtyBitmap(MIB, 4096)
    copy.merge_from(bitmap)
    copy.mark(MIB - 1, 1)
    bitmap.reset(0, 4096)
    assert list(copy.extents()) == [(0, 8192), (MIB - 4096, 4096)]
    assert list(bitmap.extents()) == [(4096, 4096)]


def test_a_disabled_bitmap_does_not_record() -> None:
    bitmap = DirtyBitmap(MIB, 4096, "b", enabled=False)
    bitmap.mark(0, MIB)
    assert bitmap.empty
    assert bitmap.info() == {
        "name": "b",
        "count": 0,
        "granularity": 4096,
        "recording": False,
        "busy": False,
        "persistent": False,
    }
    assert list(bitmap.info()) == [
        "name", "count", "granularity", "recording", "busy", "persistent",
    ]  # fmt: skip
    bitmap.inconsistent = True
    assert list(bitmap.info())[-1] == "inconsistent"
    assert "name" not in DirtyBitmap(MIB, 4096).info()


def test_16_tib_at_4_kib_is_small_when_sparse() -> None:
    """200 extents of 1 GiB, and 20000 scattered writes: under 1 MiB, in roaring's own account."""
    bitmap = DirtyBitmap(16 * TIB, 4096)
    for index in range(200):
        bitmap.mark(index * 80 * 1024 * MIB, 1024 * MIB)
    chooser = random.Random(1)
    for _ in range(20_000):
        bitmap.mark(chooser.randrange(16 * TIB), 1)
    assert _memory(bitmap) < MIB


def test_many_small_writes_in_order_become_runs() -> None:
    bitmap = DirtyBitmap(16 * TIB, 4096)
    for index in range(300_000):
        bitmap.mark(index * 4096, 4096)
    assert _memory(bitmap) < 50_000


def test_hashing_a_large_bitmap_takes_little_memory() -> None:
    bitmap = DirtyBitmap(4 * TIB, 4096)
    bitmap.mark(TIB, TIB)
    tracemalloc.start()
    try:
        digest = bitmap.sha256()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * MIB
    expected = hashlib.sha256()
    for byte, count in ((0, 1), (255, 1), (0, 2)):
        for _ in range(count):
            expected.update(bytes([byte]) * (TIB // 4096 // 8))
    assert digest == expected.hexdigest()


def _memory(bitmap: DirtyBitmap) -> int:
    numbers = bitmap._bits.get_statistics()
    payload = (
        numbers["n_bytes_array_containers"]
        + numbers["n_bytes_run_containers"]
        + numbers["n_bytes_bitset_containers"]
    )
    # Each container costs its header and its leaf in the tree besides.
    return payload + 40 * numbers["n_containers"]


def test_roaring_rangeless_calls_do_what_is_expected_of_them() -> None:
    """What the code relies on: an empty range changes nothing."""
    bits = BitMap64([7])
    bits.add_range(5, 5)
    bits.remove_range(7, 7)
    assert list(bits) == [7]
    assert bits.range_cardinality(7, 7) == 0


def test_to_find_nothing_costs_no_memory() -> None:
    """Neither Python's, nor what C has allocated."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGESIZE

    bitmap = DirtyBitmap(1 << 30, 65536)
    before = resident()
    for _ in range(2):
        for _ in range(50_000):
            assert bitmap.next_dirty(1 << 20) is None
        bitmap.set(0, 65536)
    assert resident() - before < 4 << 20
