"""The driver in a real graph: children, queries, creation, reopening, what the file node sees."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.block.change.blockdev import blockdev_add, blockdev_del
from qmpd.block.change.closing import close_all
from qmpd.block.change.reopen import set_read_only
from qmpd.block.drivers.formats.qcow2 import Qcow2
from qmpd.block.images import HostStorage
from qmpd.block.io.resize import block_resize
from qmpd.block.model.filename import filename
from qmpd.block.model.node import Node
from qmpd.block.query.info import image_info
from qmpd.errors import BlockIOError, GenericError, QmpError
from tests.support.machines import TestMachine

from .test_image import check, needs_qemu_img, qemu_img

Options = dict[str, Any]


class Bench(TestMachine):
    """A machine over host files in one directory."""

    def __init__(self, where: Path) -> None:
        super().__init__(HostStorage())
        self.where = where

    def file(self, name: str, **options: Any) -> Options:
        return {"driver": "file", "filename": str(self.where / name), **options}

    def add(self, name: str, file: str, **options: Any) -> Node:
        node: Node = self.run(
            blockdev_add(
                self.graph,
                {"driver": "qcow2", "node-name": name, "file": self.file(file), **options},
            )
        )
        return node

    def create(self, name: str, size: int = 1 << 20, **options: Any) -> Path:
        path = self.where / name
        path.touch()
        options = {key.replace("_", "-"): value for key, value in options.items()}
        file = {"file": self.file(name), "size": size}
        self.run(Qcow2.create(self.graph, {**file, **options}))
        assert not list(self.graph.nodes())
        return path

    def close(self) -> None:
        self.run(close_all(self.graph))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_first_write_marks_four_clusters_of_the_file(bench: Bench) -> None:
    bench.create("a.qcow2", 64 << 20)
    node = bench.add("q", "a.qcow2")
    assert node.file is not None
    bitmap = DirtyBitmap(node.file.length, 65536, "b")
    node.file.bitmaps.add(bitmap)
    bench.run(node.pwrite(0, bytes(65536)))
    assert bitmap.count == 262144
    bench.close()


@needs_qemu_img
def test_queries_tell_what_qemu_img_tells(bench: Bench) -> None:
    bench.create("base.qcow2", 2 << 20, cluster_size=4096)
    path = bench.create(
        "a.qcow2",
        backing_file="base.qcow2",
        backing_fmt="qcow2",
        lazy_refcounts=True,
        refcount_bits=8,
    )
    node = bench.add("q", "a.qcow2")
    bench.run(node.pwrite(0, b"1" * 65536))
    driver = node.driver
    assert isinstance(driver, Qcow2)
    bench.run(driver.snapshot_create("one", 1_000_000_002_000, 3_000_000_004))
    bench.run(node.flush())
    here = bench.run(image_info(node, flat=True))
    bench.close()
    there = json.loads(qemu_img("info", "--output=json", path).stdout)
    del there["children"], there["actual-size"], here["actual-size"]
    # qemu-img shows names as they are given to it, and has cleared the dirty bit to look.
    assert here["dirty-flag"]
    here["dirty-flag"] = there["dirty-flag"]
    assert here == there
    check(path)


def test_backing_files(bench: Bench) -> None:
    bench.create("base.qcow2", 1 << 20)
    bench.create("ov.qcow2", 1 << 20, backing_file="base.qcow2", backing_fmt="qcow2")
    base = bench.add("base", "base.qcow2")
    bench.run(base.pwrite(0, b"b" * 1000))
    bench.run(blockdev_del(bench.graph, "base"))
    ways: list[Options] = [
        {},
        {"backing": {"driver": "qcow2", "file": bench.file("base.qcow2")}},
        {"backing": None},
    ]
    for way in ways:
        node = bench.add("ov", "ov.qcow2", **way)
        data = bench.run(node.pread(0, 1000))
        if way.get("backing", "") is None:
            assert node.backing is None
            assert data == bytes(1000)
        else:
            assert node.backing is not None
            assert node.backing.read_only
            assert data == b"b" * 1000
        bench.run(blockdev_del(bench.graph, "ov"))
        assert not list(bench.graph.nodes())
    base = bench.add("base", "base.qcow2", **{"read-only": True})
    node = bench.add("ov", "ov.qcow2", backing="base")
    assert node.backing is base
    bench.close()


def test_a_backing_file_of_no_format_is_probed(bench: Bench) -> None:
    bench.create("base.qcow2", 1 << 20)
    bench.create("ov.qcow2", 1 << 20, backing_file="base.qcow2")
    (bench.where / "base.raw").write_bytes(b"r" * (1 << 20))
    bench.create("raw.qcow2", 1 << 20, backing_file=str(bench.where / "base.raw"))
    node = bench.add("a", "ov.qcow2")
    assert node.backing is not None
    assert node.backing.driver.format_name == "qcow2"
    node = bench.add("b", "raw.qcow2")
    assert node.backing is not None
    assert node.backing.driver.format_name == "raw"
    assert bench.run(node.pread(5, 5)) == b"rrrrr"
    bench.close()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"backing": "nope"},
            "Could not open backing file: Cannot find device='nope' nor node-name='nope'",
        ),
        (
            {},
            "Could not open backing file: Could not open '{}/gone.qcow2':"
            " No such file or directory",
        ),
        (
            {"data-file": "nope", "backing": None},
            "Cannot find device='nope' nor node-name='nope'",
        ),
        (
            {"l2-cache-entry-size": 3, "backing": None},
            "L2 cache entry size must be a power of two between 512 and the cluster size (65536)",
        ),
    ],
)
def test_what_fails_leaves_nothing_behind(bench: Bench, options: Options, text: str) -> None:
    path = bench.create("a.qcow2", backing_file="gone.qcow2", backing_fmt="qcow2")
    before = path.read_bytes()
    with pytest.raises(QmpError) as caught:
        bench.add("q", "a.qcow2", **options)
    assert caught.value.desc == text.format(bench.where)
    assert not list(bench.graph.nodes())
    assert path.read_bytes() == before


def test_long_chains(bench: Bench) -> None:
    bench.create("0")
    node = bench.add("q", "0")
    bench.run(node.pwrite(5000, b"deep"))
    bench.run(blockdev_del(bench.graph, "q"))
    for number in range(1, 199):
        bench.create(str(number), backing_file=str(number - 1), backing_fmt="qcow2")
    node = bench.add("q", "198")
    assert len(list(bench.graph.nodes())) == 398
    assert bench.run(node.pread(5000, 4)) == b"deep"
    bench.run(node.pwrite(5004, b"er"))
    assert bench.run(node.pread(4999, 8)) == b"\0deeper\0"
    assert filename(node) == str(bench.where / "198")
    bench.run(blockdev_del(bench.graph, "q"))
    assert not list(bench.graph.nodes())
    (bench.where / "150").unlink()
    with pytest.raises(QmpError) as caught:
        bench.add("q", "160")
    gone = f"Could not open '{bench.where}/150': No such file or directory"
    assert caught.value.desc == "Could not open backing file: " * 10 + gone
    assert not list(bench.graph.nodes())


def _chain(bench: Bench, bottom: Options, *sizes: int) -> list[Node]:
    """A node of options `bottom` and images of these sizes on it, the lowest first."""
    for number, size in enumerate(sizes, 1):
        bench.create(f"i{number}", size)
    chain = [bench.run(blockdev_add(bench.graph, {"node-name": "n0", **bottom}))]
    for number in range(1, len(sizes) + 1):
        chain.append(bench.add(f"n{number}", f"i{number}", backing=f"n{number - 1}"))
    for node in chain:
        node.flags = node.flags._replace(read_only=False)
    return chain


def test_a_read_is_under_way_in_every_node_of_its_chain(bench: Bench) -> None:
    bottom = {"driver": "null-co", "size": 1 << 20, "latency-ns": 1000, "read-zeroes": True}
    chain = _chain(bench, bottom, 1 << 20, 1 << 20, 1 << 20)
    bench.run(chain[2].pwrite(0, b"x" * 65536))
    read: list[bytes] = []

    async def reader() -> None:
        read.append(await chain[3].pread(65535, 2))

    bench.clock.enter(reader(), "reader")
    bench.clock.settle()
    assert [node.in_flight for node in chain] == [1, 1, 1, 1]
    bench.clock.advance(999)
    assert not read
    bench.clock.advance(1)
    assert read == [b"x\0"]
    assert [node.in_flight for node in chain] == [0, 0, 0, 0]
    bench.close()


def test_a_read_that_fails_is_over_in_every_node_of_its_chain(bench: Bench) -> None:
    chain = _chain(bench, {"driver": "null-co", "size": 1 << 20}, 1 << 20, 1 << 20, 1 << 20)
    bench.run(chain[1].pwrite(0, b"x" * 65536))
    lowest = chain[1].driver
    assert isinstance(lowest, Qcow2)
    lowest.state.set_l1_entry(0, 0x200)
    with pytest.raises(BlockIOError, match="Input/output error"):
        bench.run(chain[3].pread(0, 512))
    assert [node.in_flight for node in chain] == [0, 0, 0, 0]
    with pytest.raises(BlockIOError, match="No medium found"):
        bench.run(chain[3].pread(0, 512))
    assert [node.in_flight for node in chain] == [0, 0, 0, 0]
    bench.close()


@pytest.mark.parametrize("seed", range(5))
def test_what_a_chain_reads_as(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    sizes = [chance.randrange(1, 40) << 14 for _ in range(6)]
    bottom = {"driver": "null-co", "size": sizes[0], "read-zeroes": True}
    chain = _chain(bench, bottom, *sizes[1:])
    wanted = b""
    for node in chain:
        content = bytearray(wanted.ljust(node.length, b"\0")[: node.length])
        for _ in range(0 if node is chain[0] else 6):
            offset = chance.randrange(node.length)
            length = min(chance.randrange(1, 100_000), node.length - offset)
            data = bytes([chance.randrange(3)]) * length
            content[offset : offset + length] = data
            if data[0]:
                bench.run(node.pwrite(offset, data))
            else:
                bench.run(node.pwrite_zeroes(offset, length))
        wanted = bytes(content)
        assert bench.run(node.pread(0, node.length)) == wanted
        for _ in range(10):
            offset = chance.randrange(node.length)
            length = chance.randrange(1, node.length - offset + 1)
            assert bench.run(node.pread(offset, length)) == wanted[offset : offset + length]
    assert not any(node.in_flight for node in chain)
    bench.close()


def test_other_files_are_refused(bench: Bench) -> None:
    (bench.where / "junk").write_text("junk\n")
    with pytest.raises(QmpError, match="Image is not in qcow2 format"):
        bench.add("q", "junk")
    (bench.where / "empty").touch()
    with pytest.raises(QmpError, match="Image is not in qcow2 format"):
        bench.add("q", "empty")
    assert not list(bench.graph.nodes())


@needs_qemu_img
@pytest.mark.parametrize("raw", [False, True])
def test_external_data_files(bench: Bench, raw: bool) -> None:
    (bench.where / "data").touch()
    path = bench.create(
        "a.qcow2",
        1 << 20,
        data_file=bench.file("data"),
        data_file_raw=raw,
        cluster_size=4096,
    )
    node = bench.add("q", "a.qcow2")
    assert list(node.children) == ["file", "data-file"]
    bench.run(node.pwrite(100_000, b"d" * 50_000))
    bench.run(node.pwrite_zeroes(110_000, 20_000))
    expected = bytearray(1 << 20)
    expected[100_000:150_000] = b"d" * 50_000
    expected[110_000:130_000] = bytes(20_000)
    assert bench.run(node.pread(0, 1 << 20)) == bytes(expected)
    info = bench.run(image_info(node, flat=True))["format-specific"]["data"]
    assert info["data-file"] == str(bench.where / "data")
    assert info["data-file-raw"] is raw
    bench.close()
    check(path)
    plain = bench.where / "plain"
    plain.write_bytes(expected)
    assert qemu_img("compare", "-f", "qcow2", "-F", "raw", path, plain).returncode == 0
    if raw:
        assert (bench.where / "data").read_bytes() == bytes(expected)


@needs_qemu_img
def test_block_status_is_the_map_of_qemu_img(bench: Bench) -> None:
    bench.create("base.qcow2", 1 << 20, cluster_size=4096)
    base = bench.add("base", "base.qcow2")
    bench.run(base.pwrite(0, b"b" * 100_000))
    bench.run(blockdev_del(bench.graph, "base"))
    path = bench.create(
        "a.qcow2",
        2 << 20,
        backing_file="base.qcow2",
        backing_fmt="qcow2",
        cluster_size=16384,
        extended_l2=True,
    )
    node = bench.add("q", "a.qcow2")
    bench.run(node.pwrite(20_000, b"a" * 30_000))
    bench.run(node.pwrite_zeroes(60_000, 70_000))
    bench.run(node.pwrite(900_000, b"a" * 700))
    found = []
    offset = 0
    while offset < node.length:
        status = bench.run(node.block_status(offset, node.length - offset))
        if status.allocated:
            found.append((offset, status.length, status.zero, status.data, status.offset))
        offset += status.length
    bench.close()
    top = [
        (e["start"], e["length"], e["zero"], e["data"], e.get("offset"))
        for e in json.loads(qemu_img("map", "--output=json", path).stdout)
        if e["depth"] == 0 and e["present"]
    ]
    assert found == top


@needs_qemu_img
def test_growing_over_a_longer_backing_file_reads_zeroes(bench: Bench) -> None:
    (bench.where / "base.raw").write_bytes(b"r" * (1 << 20))
    path = bench.create("a.qcow2", 512, backing_file="base.raw", backing_fmt="raw")
    node = bench.add("q", "a.qcow2")
    bench.run(block_resize(node, 1 << 20))
    assert bench.run(node.pread(0, 1 << 20)) == (b"r" * 512).ljust(1 << 20, b"\0")
    with pytest.raises(QmpError, match="The new size must be a multiple of 512"):
        bench.run(block_resize(node, 1000))
    bench.close()
    check(path)


@needs_qemu_img
def test_bitmaps_follow_the_node(bench: Bench) -> None:
    path = bench.create("a.qcow2")
    node = bench.add("q", "a.qcow2")
    node.driver.check_can_store_bitmap("b", 65536)
    bitmap = DirtyBitmap(node.length, 65536, "b", persistent=True)
    node.bitmaps.add(bitmap)
    bench.run(node.pwrite(70_000, b"x"))
    bench.run(set_read_only(node, True))
    stored = json.loads(qemu_img("info", "--output=json", path).stdout)
    assert stored["format-specific"]["data"]["bitmaps"] == [
        {"flags": ["auto"], "name": "b", "granularity": 65536}
    ]
    with pytest.raises(QmpError):
        bench.run(node.pwrite(0, b"x"))
    bench.run(set_read_only(node, False))
    bench.run(node.pwrite(0, b"x"))
    bench.run(blockdev_del(bench.graph, "q"))
    assert not node.bitmaps
    check(path)
    node = bench.add("q", "a.qcow2")
    assert [b.count for b in node.bitmaps] == [131072]
    bench.run(block_resize(node, 2 << 20))
    [bitmap] = node.bitmaps
    assert bitmap.size == 2 << 20
    bitmap.busy = True
    with pytest.raises(QmpError) as caught:
        bench.run(block_resize(node, 1 << 20))
    busy = "Bitmap 'b' is currently in use by another operation and cannot be used"
    assert caught.value.desc == busy
    bitmap.busy = False
    bench.run(node.driver.remove_persistent_bitmap("b"))
    for kept in list(node.bitmaps):
        node.bitmaps.remove(kept)
    bench.close()
    check(path)


def test_a_read_only_image_is_not_written(bench: Bench) -> None:
    path = bench.create("a.qcow2")
    before = path.read_bytes()
    path.chmod(0o400)
    node = bench.add("q", "a.qcow2", **{"read-only": True})
    bench.run(node.pread(0, 1000))
    bench.run(node.flush())
    bench.close()
    assert path.read_bytes() == before


@needs_qemu_img
def test_going_back_to_a_snapshot(bench: Bench) -> None:
    path = bench.create("a.qcow2")
    node = bench.add("q", "a.qcow2")
    driver = node.driver
    assert isinstance(driver, Qcow2)
    bench.run(node.pwrite(0, b"1" * 1000))
    bench.run(driver.snapshot_create("one", 1_000_000_002, 3))
    bench.run(node.pwrite(0, b"2" * 2000))
    bench.run(driver.snapshot_goto("one"))
    assert bench.run(node.pread(0, 2000)) == (b"1" * 1000).ljust(2000, b"\0")
    gone = bench.run(driver.snapshot_delete(None, "one"))
    assert gone["id"] == "1"
    assert driver.snapshot_list() == []
    with pytest.raises(QmpError, match="Can't find the snapshot"):
        bench.run(driver.snapshot_delete(None, "one"))
    bench.close()
    check(path)


def test_raw_has_no_persistent_bitmaps(bench: Bench) -> None:
    (bench.where / "a.raw").write_bytes(bytes(512))
    options = {"driver": "raw", "node-name": "r", "file": bench.file("a.raw")}
    node = bench.run(blockdev_add(bench.graph, options))
    with pytest.raises(GenericError, match="Can't store persistent bitmaps to r"):
        node.driver.check_can_store_bitmap("b", 65536)
    bench.close()


def test_zstd_images(bench: Bench) -> None:
    pytest.importorskip("zstandard")
    bench.create("a.qcow2", compression_type="zstd")
    node = bench.add("q", "a.qcow2")
    bench.run(node.pwrite_compressed(0, b"z" * 65536))
    assert bench.run(node.pread(1000, 10)) == b"z" * 10
    bench.close()
