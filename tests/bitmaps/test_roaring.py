"""The codec of roaring bitmaps, against plain sets of numbers."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap64

from qmpd.block.bits import roaring
from qmpd.block.bits.roaring_scale import coarser, finer

BORDERS = (0, 4096, 65536, 131072, roaring.WINDOW, 1 << 32, 5 << 32)

ranges = st.lists(
    st.builds(
        lambda border, shift, length: (max(0, border + shift), max(0, border + shift) + length),
        st.sampled_from(BORDERS),
        st.integers(-20, 20),
        st.sampled_from([1, 2, 7, 64, 5000, 65536, 65537, 200000]),
    ),
    max_size=5,
)


def bitmap_of(spans: list[tuple[int, int]]) -> BitMap64:
    bits = BitMap64()
    for start, end in spans:
        bits.add_range(start, end)
    return bits


def union_of(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


@given(ranges)
@settings(max_examples=50, deadline=None)
def test_runs_are_the_maximal_runs(spans: list[tuple[int, int]]) -> None:
    assert list(roaring.runs(bitmap_of(spans))) == union_of(spans)


@given(ranges, st.sampled_from(BORDERS), st.integers(1, 1 << 18))
@settings(max_examples=50, deadline=None)
def test_runs_of_a_part(spans: list[tuple[int, int]], first: int, length: int) -> None:
    inside = [(max(s, first), min(e, first + length)) for s, e in union_of(spans)]
    expected = [(s, e) for s, e in inside if s < e]
    assert list(roaring.runs(bitmap_of(spans), first, first + length)) == expected


@given(ranges, st.sampled_from(BORDERS), st.integers(0, 1 << 12), st.integers(1, 1 << 18))
@settings(max_examples=50, deadline=None)
def test_bytes_and_back(spans: list[tuple[int, int]], border: int, shift: int, count: int) -> None:
    first = border + 8 * shift
    expected = bytearray((count + 7) // 8)
    for start, end in union_of(spans):
        for value in range(max(start, first), min(end, first + count)):
            expected[(value - first) >> 3] |= 1 << ((value - first) & 7)
    data = roaring.to_bytes(bitmap_of(spans), first, count)
    assert data == expected
    again = roaring.from_bytes(data, first)
    assert list(roaring.runs(again)) == list(roaring.runs(bitmap_of(spans), first, first + count))


@pytest.mark.parametrize("density", [0.0, 0.001, 0.03, 0.5, 0.97, 1.0])
def test_every_kind_of_container(density: float) -> None:
    """Arrays, runs and plain bits; the bits of a container must survive in either direction."""
    chooser = random.Random(int(density * 1000))
    values = [v for v in range(3 * roaring.CONTAINER) if chooser.random() < density]
    bits = BitMap64(values)
    data = roaring.to_bytes(bits, 0, 3 * roaring.CONTAINER)
    assert data == b"".join(
        sum(1 << (v & 7) for v in group).to_bytes(1, "little")
        for group in _grouped(values, 3 * roaring.CONTAINER)
    )
    assert roaring.from_bytes(data, 0) == bits
    assert [v for start, end in roaring.runs(bits) for v in range(start, end)] == values


def _grouped(values: list[int], total: int) -> list[list[int]]:
    groups: list[list[int]] = [[] for _ in range(total // 8)]
    for value in values:
        groups[value >> 3].append(value)
    return groups


@pytest.mark.parametrize("shift", [1, 3, 7, 13, 14, 20])
@pytest.mark.parametrize("density", [0.0005, 0.02, 0.4])
def test_scaling(shift: int, density: float) -> None:
    chooser = random.Random(shift)
    values = [v for v in range(2 * roaring.CONTAINER) if chooser.random() < density]
    assert set(coarser(BitMap64(values), shift)) == {v >> shift for v in values}
    few = values[:50]
    expected = [(v << shift, (v + 1) << shift) for v in few]
    assert list(roaring.runs(finer(BitMap64(few), shift))) == union_of(expected)
    if shift <= 3:
        fine = finer(BitMap64(values), shift)
        assert fine == BitMap64(v << shift | low for v in values for low in range(1 << shift))


def test_large_bitmaps_are_read_in_windows() -> None:
    """One whose containers exceed a window's worth is never serialized at once."""
    bits = BitMap64(range(0, 1200 * roaring.CONTAINER, 3))
    assert len(list(roaring.windows(bits, 0, roaring.END))) > 1
    first = list(itertools.islice(roaring.runs(bits), 1000))
    assert first == [(3 * index, 3 * index + 1) for index in range(1000)]
    tail = 1100 * roaring.CONTAINER
    assert next(iter(roaring.runs(bits, tail, tail + 10)))[0] == tail + (-tail % 3)


def test_values_far_apart() -> None:
    """257 parts: more than fit the lowest byte of their number."""
    values = [index << 32 | index for index in range(257)]
    assert list(roaring.runs(BitMap64(values))) == [(value, value + 1) for value in values]
    far = [5, 1 << 53]
    assert list(roaring.runs(BitMap64(far))) == [(5, 6), (1 << 53, (1 << 53) + 1)]
