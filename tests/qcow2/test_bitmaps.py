"""Persistent bitmaps: stored by this code and read by QEMU, and the other way round."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.block.drivers.formats.qcow2.bitmaps.bitmaps import check_can_store, remove_bitmap
from qmpd.block.drivers.formats.qcow2.bitmaps.directory import load_directory
from qmpd.block.drivers.formats.qcow2.bitmaps.reopen import reopen_bitmaps_ro, reopen_bitmaps_rw
from qmpd.block.drivers.formats.qcow2.bitmaps.store import store_bitmaps
from qmpd.block.drivers.formats.qcow2.info import specific_info
from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.errors import BlockIOError, GenericError, QmpError

from .fakes import close, create, host_file, open_node, run
from .test_image import check, directory, needs_qemu_img, qemu_img

needs_qsd = pytest.mark.skipif(
    shutil.which("qemu-storage-daemon") is None, reason="no qemu-storage-daemon here"
)


def add(s: Qcow2State, name: str, granularity: int = 65536, *, enabled: bool = True) -> DirtyBitmap:
    check_can_store(s, name, granularity)
    bitmap = DirtyBitmap(s.size, granularity, name, enabled=enabled, persistent=True)
    s.node.bitmaps.add(bitmap)
    return bitmap


def qsd(path: Path, *commands: dict[str, Any]) -> list[Any]:
    """What QEMU answers to commands about the image, opened as node `q`."""
    image = {"driver": "qcow2", "node-name": "q", "file": {"driver": "file", "filename": str(path)}}
    requests = [{"execute": "qmp_capabilities"}, *commands, {"execute": "quit"}]
    process = subprocess.run(
        [
            "qemu-storage-daemon",
            "--blockdev",
            json.dumps(image),
            "--chardev",
            "stdio,id=m",
            "--monitor",
            "m",
        ],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in process.stdout.splitlines()]
    return [answer["return"] for answer in answers if "return" in answer][1:-1]


def hash_command(name: str) -> dict[str, Any]:
    arguments = {"node": "q", "name": name}
    return {"execute": "x-debug-block-dirty-bitmap-sha256", "arguments": arguments}


@needs_qsd
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    size=st.integers(1, 40_000),
    cluster_size=st.sampled_from([512, 4096, 65536]),
    granularity=st.sampled_from([512, 4096, 65536, 1 << 31]),
    ranges=st.lists(st.tuples(st.floats(0, 0.99), st.floats(0, 0.2)), max_size=8),
)
def test_qemu_reads_the_same_bits(
    size: int, cluster_size: int, granularity: int, ranges: list[tuple[float, float]]
) -> None:
    with directory() as where:
        path = where / "a.qcow2"
        size *= 512
        create(path, size=size, cluster_size=cluster_size)
        s = open_node(path)
        bitmap = add(s, "b", granularity)
        add(s, "off", enabled=False)
        for start, share in ranges:
            bitmap.set(int(start * size), max(1, min(int(share * size), size - int(start * size))))
        expected = bitmap.sha256()
        close(s)
        check(path)
        nodes, answer = qsd(path, {"execute": "query-named-block-nodes"}, hash_command("b"))
        assert answer["sha256"] == expected
        check(path)
        listed = {b["name"]: b["recording"] for b in nodes[0]["dirty-bitmaps"]}
        assert listed == {"b": True, "off": False}
        s = open_node(path)
        loaded = {b.name: b for b in s.node.bitmaps}
        assert loaded["b"].sha256() == expected
        assert loaded["b"].enabled
        assert not loaded["off"].enabled
        close(s)
        check(path)


@needs_qemu_img
def test_bitmaps_of_qemu_img(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, "10M")
    qemu_img("bitmap", "--add", "-g", "4k", path, "one")
    qemu_img("bitmap", "--add", "--disable", path, "two")
    s = open_node(path)
    # Last stored first.
    assert [(b.name, b.granularity, b.enabled) for b in s.node.bitmaps] == [
        ("two", 65536, False),
        ("one", 4096, True),
    ]
    entries = run(load_directory(s))
    assert [entry.flags & 1 for entry in entries] == [1, 1]
    info = run(specific_info(s))["data"]["bitmaps"]
    assert info[0] == {"name": "one", "granularity": 4096, "flags": ["in-use", "auto"]}
    run(remove_bitmap(s, "one"))
    s.node.bitmaps.remove(list(s.node.bitmaps)[-1])
    run(remove_bitmap(s, "never there"))
    close(s)
    check(path)
    listed = json.loads(qemu_img("info", "--output=json", path).stdout)
    data = listed["format-specific"]["data"]
    assert data["bitmaps"] == [{"flags": [], "name": "two", "granularity": 65536}]
    s = open_node(path)
    run(remove_bitmap(s, "two"))
    for kept in list(s.node.bitmaps):
        s.node.bitmaps.remove(kept)
    assert s.header.bitmaps is None
    close(s)
    check(path)


def test_a_killed_program_leaves_inconsistent_bitmaps(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create(path, size=1 << 20)
    s = open_node(path)
    add(s, "b").set(0, 65536)
    close(s)
    killed = open_node(path)
    host_file(killed).close()
    s = open_node(path)
    (bitmap,) = s.node.bitmaps
    assert (bitmap.inconsistent, bitmap.recording, bitmap.count) == (True, False, 0)
    close(s)
    s = open_node(path)
    assert next(iter(s.node.bitmaps)).inconsistent
    run(remove_bitmap(s, "b"))
    for kept in list(s.node.bitmaps):
        s.node.bitmaps.remove(kept)
    close(s)
    assert not open_node(path).node.bitmaps


def test_read_only_nodes_have_read_only_bitmaps(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create(path, size=1 << 20)
    s = open_node(path)
    add(s, "b").set(0, 65536)
    close(s)
    before = path.read_bytes()
    s = open_node(path, read_only=True)
    (bitmap,) = s.node.bitmaps
    assert bitmap.readonly
    assert bitmap.count == 65536
    s.node.flags = s.node.flags._replace(read_only=False)
    run(reopen_bitmaps_rw(s))
    assert not bitmap.readonly
    assert path.read_bytes() != before
    bitmap.set(131072, 1)
    run(reopen_bitmaps_ro(s))
    s.node.flags = s.node.flags._replace(read_only=True)
    assert bitmap.readonly
    host_file(s).close()
    s = open_node(path)
    assert next(iter(s.node.bitmaps)).count == 131072
    close(s)


@pytest.mark.parametrize(
    ("name", "granularity", "text"),
    [
        ("x" * 1024, 65536, "Name length exceeds maximum (1023 characters)"),
        ("b", 1 << 32, "Granularity exceeds maximum (2147483648 bytes)"),
        ("b", 256, "Granularity is under minimum (512 bytes)"),
        ("b", 512, "Too much space will be occupied by the bitmap. Use larger granularity"),
    ],
)
def test_bitmaps_that_cannot_be_stored(
    tmp_path: Path, name: str, granularity: int, text: str
) -> None:
    path = tmp_path / "a.qcow2"
    create(path, size=16 << 40)
    s = open_node(path)
    with pytest.raises(GenericError) as caught:
        check_can_store(s, name, granularity)
    assert caught.value.desc == f"Can't make bitmap '{name}' persistent in 'img': {text}"
    add(s, "taken", 2 << 20)
    with pytest.raises(GenericError, match="Bitmap already exists: taken"):
        check_can_store(s, "taken", 2 << 20)
    close(s)


def test_old_images_store_no_bitmaps(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create(path, size=1 << 20, version="v2")
    s = open_node(path)
    with pytest.raises(GenericError, match="Cannot store dirty bitmaps in qcow2 v2 files"):
        check_can_store(s, "b", 65536)
    close(s)


@pytest.mark.parametrize("nth", range(8))
def test_a_failed_store_leaves_the_image_whole(tmp_path: Path, nth: int) -> None:
    path = tmp_path / "a.qcow2"
    create(path, size=1 << 20)
    s = open_node(path)
    add(s, "b").set(0, 65536)
    writes = 0

    def fail(what: str, offset: int, length: int) -> bool:
        nonlocal writes
        writes += what == "write"
        return what == "write" and writes == nth + 1

    host_file(s).fail = fail
    try:
        run(store_bitmaps(s, release=True))
    except BlockIOError as error:
        assert error.errno == errno.EIO  # noqa: PT017
    host_file(s).fail = None
    run(s.flush_caches())
    host_file(s).close()
    if shutil.which("qemu-img"):
        check(path)


@needs_qemu_img
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 31), st.integers(0, 255))
def test_broken_directories_are_refused(position: int, value: int) -> None:
    with directory() as where:
        path = where / "a.qcow2"
        create(path, size=1 << 20)
        s = open_node(path)
        add(s, "b")
        close(s)
        s = open_node(path, read_only=True)
        assert s.header.bitmaps is not None
        offset = s.header.bitmaps.directory_offset + position
        host_file(s).close()
        raw = bytearray(path.read_bytes())
        raw[offset] = value
        path.write_bytes(raw)
        try:
            host_file(open_node(path)).close()
        except QmpError as error:
            assert error.desc  # noqa: PT017
