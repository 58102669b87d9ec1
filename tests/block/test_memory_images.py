"""Files in memory beside files of tmpfs, Linux's own file system in memory: they are the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmpd.block.images import MemoryStorage
from qmpd.block.images.host_image import HostImage
from qmpd.block.images.image import Image
from qmpd.block.images.memory_image import MemoryImage
from qmpd.block.images.pages import PAGE
from qmpd.block.permission_bits import NOTHING, WRITE
from qmpd.errors import BlockIOError

WINDOW = 20 * PAGE
OFFSETS = st.integers(0, WINDOW) | st.integers(0, 20).map(lambda n: n * PAGE)
LENGTHS = st.integers(0, 3 * PAGE) | st.sampled_from([1, 512, PAGE, 7 * PAGE])
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["write", "fill", "punch", "zero", "unmap", "truncate", "allocate"]),
        OFFSETS,
        LENGTHS,
        st.integers(0, 255),
    ),
    max_size=12,
)


def _change(image: Image, what: str, offset: int, length: int, byte: int) -> None:
    if what == "write":
        image.pwrite(offset, bytes((byte + i * 7) % 256 for i in range(length)))
    elif what == "fill":
        image.pwrite(offset, memoryview(bytes([byte]) * length))
    elif what == "punch":
        image.punch(offset, length)
    elif what in ("zero", "unmap"):
        image.zero(offset, length, may_unmap=what == "unmap")
    elif what == "truncate":
        image.truncate(offset)
    else:
        image.allocate(offset)


def _seen(image: Image, *, with_extents: bool) -> list[object]:
    """All that can be asked of an image."""
    extents: list[tuple[bool, int]] = []
    offset, end = 0, image.length()
    while with_extents and offset < end:
        data, length = image.extent(offset, end - offset)
        if extents and extents[-1][0] == data:
            extents[-1] = (data, extents[-1][1] + length)
        else:
            extents.append((data, length))
        offset += length
    return [end, image.allocated(), extents, image.pread(0, end + 100), image.pread(777, 5000)]


@given(CHANGES)
@settings(max_examples=300, deadline=None)
def test_any_changes_are_seen_as_on_tmpfs(changes: list[tuple[str, int, int, int]]) -> None:
    here = MemoryStorage().create("image")
    there = HostImage(os.memfd_create("image"), read_only=False)
    with_extents = True
    for change in changes:
        # tmpfs turns a reserved page into data when it is reserved again, ext4 does not
        with_extents = with_extents and change[0] not in ("zero", "allocate")
        _change(here, *change)
        _change(there, *change)
        assert _seen(here, with_extents=with_extents) == _seen(there, with_extents=with_extents)
    there.close()


def test_handles_of_a_file_see_each_other_and_its_locks() -> None:
    storage = MemoryStorage()
    one, other = storage.create("image"), storage.open("image", read_only=True)
    one.pwrite(5, b"abc")
    assert other.pread(0, 8) == b"\0\0\0\0\0abc"
    with pytest.raises(BlockIOError, match="Bad file descriptor"):
        other.pwrite(0, b"x")
    locks, others = one.new_locks(), other.new_locks()
    locks.lock(WRITE, WRITE)
    others.lock(WRITE, NOTHING)
    with pytest.raises(BlockIOError, match='Failed to get "write" lock'):
        others.check(WRITE, NOTHING)
    one.close()
    others.check(WRITE, NOTHING)


def test_a_thousand_disks_need_no_descriptors() -> None:
    storage = MemoryStorage()
    before = len(list(Path("/proc/self/fd").iterdir()))
    images = [storage.create(f"image{number}") for number in range(1000)]
    for image in images:
        image.truncate(1 << 44)
        image.new_locks()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert sum(image.allocated() for image in images) == 0


def test_patterns_are_kept_once() -> None:
    image = MemoryStorage().create("image")
    image.pwrite(0, b"\7" * (64 * PAGE))
    assert image.allocated() == 64 * PAGE
    file = image.file  # type: ignore[attr-defined]
    assert len({id(page) for page in file._pages(0, 64)}) == 1


def test_a_fork_shares_what_neither_has_written() -> None:
    image = MemoryStorage().create("image")
    image.pwrite(0, b"a" * (600 * PAGE) + b"end")
    image.zero(10 * PAGE, PAGE, may_unmap=False)
    assert isinstance(image, MemoryImage)
    first = image.file
    other = first.fork()
    third = other.fork()
    assert other.read(0, 601 * PAGE) == first.read(0, 601 * PAGE)
    assert (other.length, other.allocated()) == (first.length, first.allocated())
    other.write(PAGE, b"b" * 10)
    first.punch(300 * PAGE, 400 * PAGE)
    third.truncate(5)
    assert [file.read(PAGE, 2) for file in (first, other)] == [b"aa", b"bb"]
    assert [file.read(600 * PAGE, 3) for file in (first, other)] == [bytes(3), b"end"]
    assert third.read(0, 10) == b"a" * 5 + bytes(5)
    assert [file.length for file in (first, other, third)] == [600 * PAGE + 3] * 2 + [5]
    assert [file.allocated() // PAGE for file in (first, other, third)] == [300, 601, 1]
