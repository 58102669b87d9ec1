"""Damaged images: whatever bytes of metadata are wrong, there is an error and no more than that."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmpd.block.bits.rules import add
from qmpd.block.change.blockdev import blockdev_add, blockdev_del
from qmpd.block.change.closing import close_all
from qmpd.block.images import MemoryStorage
from qmpd.block.images.memory_image import MemoryImage
from qmpd.block.model.driver_table import find_creator
from qmpd.block.model.families import Snapshots
from qmpd.block.model.node import Node
from qmpd.errors import QmpError
from tests.support.machines import TestMachine

CASES = int(os.environ.get("QMPD_DAMAGE_CASES", "700"))
SIZE = 1 << 20
MOST_REQUESTS = 300_000
"""Requests on the file that no work on an image of this size needs."""

KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"cluster-size": 4096},
    {"version": "v2", "cluster-size": 8192},
    {"extended-l2": True, "cluster-size": 16384},
    {"cluster-size": 1024, "refcount-bits": 1, "lazy-refcounts": True},
)


class World(TestMachine):
    """A machine over memory."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        super().__init__(self.storage)

    def open(self, **more: Any) -> Node:
        file = {"driver": "file", "filename": "/i"}
        node: Node = self.run(
            blockdev_add(
                self.graph,
                {"driver": "qcow2", "node-name": "n", "file": file, "discard": "unmap", **more},
            )
        )
        return node


@cache
def pristine(kind: int) -> tuple[bytes, tuple[tuple[int, int], ...]]:
    """The bytes of an image with some of everything, and where its metadata are."""
    world = World()
    options = KINDS[kind]
    file = {"driver": "file", "filename": "/i"}
    world.run(find_creator("file").create(world.graph, {**file, "size": 0}))
    world.run(
        find_creator("qcow2").create(
            world.graph, {"driver": "qcow2", "file": file, "size": SIZE, **options}
        )
    )
    node = world.open()
    world.run(node.pwrite(0, b"\x11" * 200_000))
    world.run(node.pwrite_compressed(1 << 19, b"\x22" * (node.driver.cluster_size() or 0)))
    world.run(node.pwrite_zeroes(900_000, 50_000))
    if options.get("refcount-bits") != 1:
        assert isinstance(node.driver, Snapshots)
        world.run(node.driver.snapshot_create("s", 1_000_000_002, 3))
        world.run(node.pwrite(65536, b"\x33" * 9000))
    if options.get("version") != "v2":
        add(world.graph, "n", "b", granularity=4096, persistent=True, disabled=False)
        world.run(node.pwrite(300_000, b"\x44" * 9000))
    state: Any = node.driver.state  # type: ignore[attr-defined]
    cluster = node.driver.cluster_size() or 0
    places = {0, state.header.l1_table_offset, state.header.refcount_table_offset}
    places |= set(state.l2_tables)
    places |= {entry for entry in state.refcount_table if entry}
    if state.header.snapshots_offset:
        places.add(state.header.snapshots_offset)
    world.run(blockdev_del(world.graph, "n"))
    image = world.storage.open("/i", read_only=True)
    data = image.pread(0, image.length())
    image.close()
    node = world.open(**{"read-only": True})
    header = node.driver.state.header  # type: ignore[attr-defined]
    directory = getattr(getattr(header, "bitmaps", None), "directory_offset", 0)
    if directory:
        places.add(directory)
    world.run(close_all(world.graph))
    # The header's own fields are few: they get a share of their own.
    areas = [(0, 128)] * 4 + [(place, min(cluster, 2048)) for place in sorted(places)]
    return data, tuple(areas)


@contextmanager
def bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail when an image is read outside of the file, or over and over again."""
    requests = 0
    pread = MemoryImage.pread

    def counted(self: MemoryImage, offset: int, length: int) -> bytes:
        nonlocal requests
        requests += 1
        assert requests < MOST_REQUESTS, "it reads on and on"
        assert not length or 0 <= offset <= -(-self.length() // 512) * 512, "outside of the file"
        assert length <= 64 << 20
        return pread(self, offset, length)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryImage, "pread", counted)
        yield


flips = st.lists(
    st.tuples(st.integers(0, 1 << 16), st.integers(0, 1 << 16), st.integers(1, 255)),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=CASES,
    deadline=20_000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(kind=st.integers(0, len(KINDS) - 1), flipped=flips, truncated=st.booleans())
def test_flipped_bytes(
    monkeypatch: pytest.MonkeyPatch,
    kind: int,
    flipped: list[tuple[int, int, int]],
    truncated: bool,
) -> None:
    data, areas = pristine(kind)
    damaged = bytearray(data)
    for which, at, mask in flipped:
        start, length = areas[which % len(areas)]
        damaged[min(start + at % length, len(damaged) - 1)] ^= mask
    if truncated and len(flipped) > 2:
        del damaged[flipped[0][1] % len(damaged) :]
    world = World()
    image = world.storage.create("/i")
    image.pwrite(0, bytes(damaged))
    image.close()
    with bounded(monkeypatch):
        use(world)


def use(world: World) -> None:
    """Do a bit of everything with the image; errors are all right."""
    try:
        node = world.open()
    except QmpError:
        return
    length = min(node.length, 4 * SIZE)
    driver = node.driver
    assert isinstance(driver, Snapshots)
    for work in (
        lambda: node.pread(0, length),
        lambda: node.block_status(0, length),
        lambda: node.pwrite(length // 2 // 512 * 512, b"\x55" * 1024),
        lambda: node.pwrite(0, b"\x66" * min(70_000, length)),
        lambda: node.pdiscard(0, length // 4 // 512 * 512),
        lambda: node.pwrite_zeroes(0, length // 3 // 512 * 512, may_unmap=True),
        lambda: driver.snapshot_create("t", 1_000_000_002, 3),
        lambda: driver.snapshot_delete(None, "s"),
        lambda: node.driver.remove_persistent_bitmap("b"),
        lambda: node.truncate(length + 65536, exact=True),
        lambda: node.flush(),
        lambda: blockdev_del(world.graph, "n"),
    ):
        try:
            world.run(work())
        except QmpError:
            continue
    world.run(close_all(world.graph))


def test_an_image_that_seems_to_be_terabytes_long() -> None:
    """An L2 table that far away is written there; what is in use is found out all the same."""
    data = bytearray(pristine(1)[0])
    struct.pack_into(">Q", data, struct.unpack_from(">Q", data, 40)[0], 1 << 40)
    world = World()
    image = world.storage.create("/i")
    image.pwrite(0, bytes(data))
    image.close()
    node = world.open()
    world.run(node.pdiscard(553984, 65536))
    world.run(node.pwrite(727552, bytes(4096)))
    begin = time.monotonic()
    world.run(node.block_status(0, node.length))
    assert time.monotonic() - begin < 5
    world.run(close_all(world.graph))
