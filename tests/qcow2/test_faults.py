"""Images that are damaged, writes that fail, and programs that are killed."""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmpd.block.drivers.formats.qcow2.clusters.read import read_clusters
from qmpd.block.drivers.formats.qcow2.clusters.resize import truncate
from qmpd.block.drivers.formats.qcow2.clusters.write import write_clusters
from qmpd.block.drivers.formats.qcow2.clusters.zero import pdiscard
from qmpd.block.drivers.formats.qcow2.header.layout import INCOMPAT_DIRTY
from qmpd.block.drivers.formats.qcow2.snapshots.snapshots import snapshot_create, snapshot_delete
from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.errors import BlockIOError, QmpError

from .fakes import close, create, host_file, open_node, run
from .test_bitmaps import add
from .test_image import check, directory, needs_qemu_img, qemu_img

PLACES = ("header", "l1", "l2", "refcount table", "refcount block", "snapshots", "bitmaps")


def build(path: Path) -> dict[str, tuple[int, int]]:
    """An image with something of everything; returns where each table is (offset, length)."""
    create(path, size=1 << 20, cluster_size=4096)
    s = open_node(path)
    run(write_clusters(s, 0, b"\1" * 100_000))
    run(snapshot_create(s, "one", date_sec=1, date_nsec=2, vm_clock_nsec=3))
    run(write_clusters(s, 4096, b"\2" * 10_000))
    add(s, "b").set(0, 1)
    close(s)
    s = open_node(path, read_only=True)
    assert s.header.bitmaps is not None
    places = {
        "header": (0, 512),
        "l1": (s.header.l1_table_offset, 8 * len(s.l1)),
        "l2": (s.l1[0] & ~(1 << 63), 8 * 30),
        "refcount table": (s.header.refcount_table_offset, 16),
        "refcount block": (s.refcount_table[0], 2 * 60),
        "snapshots": (s.header.snapshots_offset, s.snapshots_size),
        "bitmaps": (s.header.bitmaps.directory_offset, s.header.bitmaps.directory_size),
    }
    host_file(s).close()
    return places


def use(s: Qcow2State) -> None:
    """Do a bit of everything; only errors of QEMU's kind may come out."""
    for action in (
        lambda: read_clusters(s, 0, min(s.size, 1 << 20)),
        lambda: write_clusters(s, 8192, b"\3" * 20_000),
        lambda: write_clusters(s, 500_000, b"\4" * 20_000),
        lambda: pdiscard(s, 0, 4096),
        lambda: snapshot_delete(s, "1", None),
        lambda: truncate(s, 1 << 21, exact=False),
        lambda: truncate(s, 1 << 19, exact=False),
    ):
        try:
            s.check_usable()
            run(action())
        except QmpError as error:
            assert error.desc  # noqa: PT017


@settings(
    max_examples=int(os.environ.get("QCOW2_EXAMPLES", "100")),
    deadline=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    place=st.sampled_from(PLACES),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_damaged_metadata(place: str, changes: list[tuple[float, int]]) -> None:
    with directory() as where:
        path = where / "a.qcow2"
        offset, length = build(path)[place]
        raw = bytearray(path.read_bytes())
        for position, value in changes:
            raw[offset + int(position * length)] = value
        path.write_bytes(raw)
        try:
            s = open_node(path)
        except QmpError as error:
            assert error.desc  # noqa: PT017
            return
        if s.size <= 1 << 24:
            use(s)
        host_file(s).close()


@settings(max_examples=25, deadline=5000)
@given(st.floats(0, 1))
def test_truncated_files(share: float) -> None:
    with directory() as where:
        path = where / "a.qcow2"
        build(path)
        with path.open("r+b") as file:
            file.truncate(int(share * path.stat().st_size))
        try:
            s = open_node(path)
        except QmpError as error:
            assert error.desc  # noqa: PT017
            return
        use(s)
        host_file(s).close()


def corrupt_l2_pointer(path: Path) -> Qcow2State:
    s = open_node(path)
    s.l1[0] |= 0x200
    return s


def test_corruption_is_reported_once_and_marked(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    build(path)
    s = corrupt_l2_pointer(path)
    with pytest.raises(BlockIOError) as caught:
        run(read_clusters(s, 0, 512))
    assert caught.value.errno == errno.EIO
    with pytest.raises(BlockIOError) as caught:
        s.check_usable()
    assert caught.value.errno == errno.ENOMEDIUM
    ((name, data),) = s.node.services.events  # type: ignore[attr-defined]
    assert name == "BLOCK_IMAGE_CORRUPTED"
    where = s.l1[0] & ~(1 << 63)
    assert data == {
        "device": "",
        "node-name": "img",
        "msg": f"L2 table offset {where:#x} unaligned (L1 index: 0)",
        "fatal": True,
    }
    host_file(s).close()
    with pytest.raises(BlockIOError) as caught:
        open_node(path)
    assert caught.value.desc == "qcow2: Image is corrupt; cannot be opened read/write"
    host_file(open_node(path, read_only=True)).close()


def test_metadata_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create(path, size=1 << 20)
    s = open_node(path)
    run(write_clusters(s, 0, b"\1" * 65536))
    table = run(s.l2_cache.get(s.l1[0] & ~(1 << 63)))
    table.data[0] = s.header.l1_table_offset | 1 << 63
    s.l2_cache.put(table)
    with pytest.raises(BlockIOError):
        run(write_clusters(s, 0, b"\2" * 4096))
    ((_, data),) = s.node.services.events  # type: ignore[attr-defined]
    assert data["msg"] == "Preventing invalid write on metadata (overlaps with active L1 table)"
    assert (data["offset"], data["size"]) == (s.header.l1_table_offset, 4096)
    host_file(s).close()


def random_work(s: Qcow2State, seed: int, model: bytearray) -> None:
    """Writes and flushes; `model` gets what was flushed."""
    choice = random.Random(seed)
    volatile = bytearray(model)
    for _ in range(30):
        offset = choice.randrange(0, s.size - 4096, 512)
        data = bytes([choice.randrange(1, 256)]) * choice.choice([512, 4096, 20_000])
        data = data[: s.size - offset]
        run(write_clusters(s, offset, data))
        volatile[offset : offset + len(data)] = data
        if choice.random() < 0.3:
            run(s.flush_caches())
            model[:] = volatile
            volatile = bytearray(model)
    raise AssertionError("was not killed")


@needs_qemu_img
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_a_killed_program_leaves_a_usable_image(tmp_path: Path, seed: int, lazy: bool) -> None:
    path = tmp_path / "a.qcow2"
    create(path, size=1 << 20, cluster_size=1024, lazy_refcounts=lazy)
    s = open_node(path)
    writes = 0
    stop = random.Random(seed).randrange(3, 60)

    class Killed(BaseException):
        pass

    def kill(what: str, offset: int, length: int) -> bool:
        nonlocal writes
        writes += what == "write"
        if writes > stop:
            raise Killed
        return False

    host_file(s).fail = kill
    model = bytearray(s.size)
    with pytest.raises(Killed):
        random_work(s, seed, model)
    host_file(s).close()
    copy = tmp_path / "copy.qcow2"
    shutil.copy(path, copy)
    opened = open_node(copy)
    assert not opened.header.incompatible & INCOMPAT_DIRTY
    # Zeroes are what was never flushed, or not written at all.
    data: Any = run(read_clusters(opened, 0, opened.size))
    lost = [i for i in range(0, len(model), 512) if model[i] and not data[i]]
    assert not lost
    close(opened)
    for image in (copy, path):
        # Refcounts that are lazy are wrong until a repair.
        if image is copy or not lazy:
            assert "corrupt" not in qemu_img("check", image).stdout
        qemu_img("check", "-q", "-r", "all" if lazy else "leaks", image)
        check(image)


@pytest.mark.parametrize("nth", range(1, 25))
def test_a_failed_write_leaves_the_image_whole(tmp_path: Path, nth: int) -> None:
    path = tmp_path / "a.qcow2"
    create(path, size=1 << 20, cluster_size=512, refcount_bits=64)
    s = open_node(path)
    writes = 0

    def fail(what: str, offset: int, length: int) -> bool:
        nonlocal writes
        writes += what == "write"
        return what == "write" and writes == nth

    host_file(s).fail = fail
    failures = 0
    for start in range(0, 60_000, 7_000):
        try:
            run(write_clusters(s, start, b"\1" * 3_000))
        except BlockIOError as error:
            assert error.errno == errno.EIO  # noqa: PT017
            failures += 1
    assert failures == 1
    close(s)
    s = open_node(path)
    read = sum(bool(byte) for byte in run(read_clusters(s, 0, s.size)))
    assert read >= 8 * 3_000
    close(s)
    if shutil.which("qemu-img"):
        assert "corrupt" not in qemu_img("check", path).stdout
