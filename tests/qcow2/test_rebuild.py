"""Images that were left dirty and have lost their refcounts: these are made anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import qmpd
from qmpd.block.change.blockdev import blockdev_del
from qmpd.block.drivers.formats.qcow2.header.layout import INCOMPAT_DIRTY

from .test_driver import Bench
from .test_image import check

SIZE = 8 << 20
CREATED = [(512, 16), (512, 64), (4096, 1), (65536, 16), (65536, 64), (2 << 20, 8)]
LOST = ["table", "first block", "all blocks"]


def _lose(path: Path, what: str, cluster_size: int) -> None:
    """Set the dirty bit, and write zeroes over refcounts."""
    image = bytearray(path.read_bytes())
    image[79] |= INCOMPAT_DIRTY
    table = int.from_bytes(image[48:56], "big")
    length = int.from_bytes(image[56:60], "big") * cluster_size
    entries = [int.from_bytes(image[at : at + 8], "big") for at in range(table, table + length, 8)]
    blocks = [entry for entry in entries if entry]
    assert blocks
    lost = {"table": [], "first block": blocks[:1], "all blocks": blocks}[what]
    for offset in lost:
        image[offset : offset + cluster_size] = bytes(cluster_size)
    if not lost:
        image[table : table + length] = bytes(length)
    path.write_bytes(image)


@pytest.mark.parametrize("what", LOST)
@pytest.mark.parametrize(("cluster_size", "refcount_bits"), CREATED)
def test_lost_refcounts(tmp_path: Path, cluster_size: int, refcount_bits: int, what: str) -> None:
    bench = Bench(tmp_path)
    path = bench.create("a.qcow2", SIZE, cluster_size=cluster_size, refcount_bits=refcount_bits)
    node = bench.add("q", "a.qcow2")
    written = {0: b"\1" * 100_000, 3 << 20: b"\2" * (1 << 20), SIZE - 512: b"\3" * 512}
    for offset, data in written.items():
        bench.run(node.pwrite(offset, data))
    bench.run(blockdev_del(bench.graph, "q"))
    _lose(path, what, cluster_size)
    node = bench.add("q", "a.qcow2")
    for offset, data in written.items():
        assert bench.run(node.pread(offset, len(data))) == data
    written[5 << 20] = b"\4" * (1 << 20)
    bench.run(node.pwrite(5 << 20, written[5 << 20]))
    bench.run(blockdev_del(bench.graph, "q"))
    if shutil.which("qemu-img") is not None:
        check(path)
    node = bench.add("q", "a.qcow2")
    for offset, data in written.items():
        assert bench.run(node.pread(offset, len(data))) == data
    bench.close()


@pytest.mark.timeout(30)
def test_a_file_that_is_said_to_go_on_and_on(tmp_path: Path) -> None:
    """To count what is far away costs no more than what is near."""
    bench = Bench(tmp_path)
    path = bench.create("a.qcow2", SIZE, cluster_size=4096, refcount_bits=1)
    node = bench.add("q", "a.qcow2")
    bench.run(node.pwrite(0, b"\1" * 5000))
    bench.run(blockdev_del(bench.graph, "q"))
    with path.open("r+b") as file:
        head = file.read(56)
        file.seek(int.from_bytes(head[48:56], "big") + 8)
        file.write((1 << 38).to_bytes(8, "big"))
        file.seek(79)
        file.write(bytes([INCOMPAT_DIRTY]))
    node = bench.add("q", "a.qcow2")
    assert bench.run(node.pread(0, 5000)) == b"\1" * 5000
    bench.run(blockdev_del(bench.graph, "q"))
    if shutil.which("qemu-img") is not None:
        check(path)
    bench.close()


@pytest.mark.timeout(30)
def test_the_last_cluster_of_a_file_that_goes_on_and_on() -> None:
    with qmpd.Machine(disks={"f": "0"}) as vm:
        options = {"driver": "qcow2", "file": "f", "size": SIZE, "cluster-size": 512}
        vm.cmd("blockdev-create", job_id="c", options=options)
        vm.job("c").wait()
        vm.cmd("block_resize", node_name="f", size=1 << 62)
        vm.cmd("blockdev-add", driver="qcow2", node_name="n", file="f")
        vm.cmd("block_resize", node_name="n", size=SIZE // 2)
        vm.cmd("blockdev-del", node_name="n")
        (disk,) = vm.cmd("query-block")
        assert disk["inserted"]["image"]["virtual-size"] < SIZE


def _damage(path: Path, table: int, entries: bytes) -> None:
    """Set the dirty bit, and have the refcount table be at `table`, one cluster of `entries`."""
    with path.open("r+b") as file:
        file.seek(48)
        file.write(table.to_bytes(8, "big"))
        file.seek(79)
        file.write(bytes([INCOMPAT_DIRTY]))
        file.seek(table)
        file.write(entries)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("entry", "cannot"),
    [(0x40200, "Could not repair dirty image"), (0x40000, None)],
    ids=["blocks that cannot be read", "the same block again and again"],
)
def test_tables_of_garbage(tmp_path: Path, entry: int, cannot: str | None) -> None:
    """A table names blocks for 2^27 clusters, all of them wrong: to say so of each takes hours."""
    bench = Bench(tmp_path)
    path = bench.create("a.qcow2", SIZE)
    bench.close()
    _damage(path, 0x80000, (0).to_bytes(8, "big") + entry.to_bytes(8, "big") * 8191)
    with path.open("r+b") as file:
        file.seek(0x40000)
        file.write(b"\1" * 0x10000)
        file.truncate(1 << 43)
    bench = Bench(tmp_path)
    if cannot:
        with pytest.raises(qmpd.errors.QmpError, match=cannot):
            bench.add("q", "a.qcow2")
    else:
        bench.add("q", "a.qcow2")
    bench.close()
