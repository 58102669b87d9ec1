"""What happens to qcow2 images while the power may go, and what must hold afterwards.

A scenario yields what must hold from then on: a `Promise`.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, Final

import qmpd
from qmpd.api.setup import Setup
from qmpd.block.images.memory import MemoryFile
from qmpd.sim.power.file import Keep
from qmpd.testing.power import _run
from tests.sim.power.promises import SIZE, Guest, Promise, Scenario

SECTOR = 512
PATH = "/q.qcow2"
KEEPS: Final[tuple[Keep, ...]] = ("flushed", "random", "all")
"""What the disk may have kept."""
Q = {"path": PATH, "format": "qcow2", "size": "1M", "cluster_size": "4k"}


def writes(vm: qmpd.Machine) -> Iterator[Promise]:
    """Writes of all sizes, over one another, with flushes now and then."""
    guest = Guest(vm)
    yield from guest.write(0, 65536, 1)
    yield from guest.flush()
    yield from guest.write(1000 * 512 - 4096, 512, 2)
    yield from guest.write(4096, 8192, 3)
    yield from guest.write(300_032, 70_144, 4, fua=True)
    yield from guest.write(512, 1024, 5)
    yield from guest.flush()
    yield from guest.write(0, SIZE // 2, 6)
    yield from guest.flush()
    yield from guest.write(8192, 512, 7)


def zeroes(vm: qmpd.Machine) -> Iterator[Promise]:
    """Zeroes over data, and data over zeroes."""
    guest = Guest(vm)
    yield from guest.write(0, 262_144, 1)
    yield from guest.flush()
    yield from guest.zero(65536, 65536)
    yield from guest.zero(131_072, 65536, unmap=True)
    yield from guest.flush()
    yield from guest.write(131_072, 4096, 2)
    yield from guest.write(70_144, 512, 3)
    yield from guest.zero(512, 1024, unmap=True)
    yield from guest.flush()
    yield from guest.write(262_144, 262_144, 4)


def discards(vm: qmpd.Machine) -> Iterator[Promise]:
    """Clusters that are freed and used again."""
    guest = Guest(vm)
    reopen(vm, discard="unmap")
    for round_ in range(1, 4):
        yield from guest.write(0, 131_072, round_)
        yield from guest.flush()
        yield from guest.discard(0, 65536)
        yield from guest.write(262_144, 65536, 10 + round_)
        if round_ == 2:
            yield from guest.flush()
        yield from guest.discard(262_144, 65536)
    yield from guest.flush()


def reopen(vm: qmpd.Machine, **options: Any) -> None:
    """Blockdev-reopen of the disk."""
    (file,) = (name for name, node in vm.nodes.items() if node["drv"] == "file")
    q = {"driver": "qcow2", "node-name": "q", "file": file}
    vm.cmd("blockdev-reopen", {"options": [{**q, **options}]})


def small_caches(vm: qmpd.Machine) -> Iterator[Promise]:
    """Tables that do not stay in the caches."""
    guest = Guest(vm)
    reopen(vm, **{"l2-cache-size": 8192, "refcount-cache-size": 16384})
    for number in range(12):
        yield from guest.write(number * 77 * 1024 % SIZE // 512 * 512, 2048, number + 1)
        if number % 5 == 4:
            yield from guest.flush()
    yield from guest.zero(0, SIZE // 2, unmap=True)
    yield from guest.write(4096, 512, 99)


def grow(vm: qmpd.Machine) -> Iterator[Promise]:
    """A larger disk, until the L1 table must grow, too."""
    guest = Guest(vm)
    yield from guest.write(0, 65536, 1)
    yield from guest.flush()
    for size in (SIZE + 65536, 8 * SIZE, 64 * SIZE):
        vm.cmd("block_resize", {"node-name": "q", "size": size})
        yield from guest.write(4096, 512, size % 251)
    vm.disk("q").write(SIZE * 60, b"far")
    yield from guest.flush()


def shrink(vm: qmpd.Machine) -> Iterator[Promise]:
    """A smaller disk, and a larger one again."""
    guest = Guest(vm)
    yield from guest.write(0, SIZE, 1)
    yield from guest.flush()
    half = SIZE // 2
    yield guest._next("q", half, bytes(half))
    vm.cmd("block_resize", {"node-name": "q", "size": half})
    vm.cmd("block_resize", {"node-name": "q", "size": SIZE})
    yield from guest.write(half, 65536, 2)
    yield from guest.flush()


def internal_snapshots(vm: qmpd.Machine) -> Iterator[Promise]:
    """Snapshots inside the image, made, written over, deleted."""
    guest = Guest(vm)
    yield from guest.write(0, 131_072, 1)
    vm.cmd("blockdev-snapshot-internal-sync", device="q", name="one")
    yield from guest.closed()
    yield from guest.write(0, 65536, 2)
    vm.cmd("blockdev-snapshot-internal-sync", device="q", name="two")
    yield from guest.closed()
    yield from guest.write(32768, 65536, 3)
    yield from guest.zero(0, 4096, unmap=True)
    vm.cmd("blockdev-snapshot-delete-internal-sync", device="q", name="one")
    yield from guest.flush()
    vm.cmd("blockdev-snapshot-delete-internal-sync", device="q", name="two")
    yield from guest.write(0, 65536, 4)
    yield from guest.flush()


def go_back(vm: qmpd.Machine) -> Iterator[Promise]:
    """A snapshot that is loaded."""
    guest = Guest(vm)
    yield from guest.write(0, 131_072, 1)
    yield from guest.flush()
    snapshot = {"tag": "s", "vmstate": "q", "devices": ["q"]}
    vm.cmd("snapshot-save", {"job-id": "j", **snapshot})
    vm.job("j").wait()
    assert vm.job("j").error is None
    vm.cmd("job-dismiss", id="j")
    yield from guest.write(0, 65536, 2)
    vm.restart()
    yield from guest.closed()
    yield guest._next("q", 0, b"\1" * 65536)
    vm.cmd("snapshot-load", {"job-id": "j", **snapshot})
    vm.job("j").wait()
    assert vm.job("j").error is None
    vm.cmd("job-dismiss", id="j")
    yield from guest.flush()
    yield from guest.write(4096, 4096, 3)


def go_back_resized(vm: qmpd.Machine) -> Iterator[Promise]:
    """Snapshots of disks that were smaller and larger."""
    guest = Guest(vm)
    snapshots = []
    yield from guest.write(0, 131_072, 1)
    for number, size in enumerate((2 * SIZE, SIZE // 2, SIZE)):
        snapshots.append({"tag": f"s{number}", "vmstate": "q", "devices": ["q"]})
        vm.cmd("snapshot-save", {"job-id": "j", **snapshots[-1]})
        vm.job("j").wait()
        assert vm.job("j").error is None
        vm.cmd("job-dismiss", id="j")
        vm.cmd("block_resize", {"node-name": "q", "size": size})
        yield guest.promise()
    for snapshot in (snapshots[1], snapshots[2], snapshots[0]):
        vm.cmd("snapshot-load", {"job-id": "j", **snapshot})
        vm.job("j").wait()
        assert vm.job("j").error is None
        vm.cmd("job-dismiss", id="j")
        yield guest.promise()
    yield from guest.flush()


def emptied(vm: qmpd.Machine) -> Iterator[Promise]:
    """An overlay that HMP's commit empties, at first as a whole, then cluster by cluster."""
    guest = Guest(vm)
    yield from guest.write(0, 262_144, 1)
    yield from guest.flush()
    vm.cmd("blockdev-snapshot-sync", {"device": "q", "snapshot-file": "/over.qcow2"})
    yield from guest.opens("/over.qcow2")
    guest.versions["/over.qcow2"] = guest.versions["q"][-1:]
    for byte in (2, 3):
        data = bytes([byte]) * 65536
        yield guest._next("/over.qcow2", 65536, data)
        vm.disk("q").write(65536, data)
        vm.disk("q").flush()
        guest.versions["/over.qcow2"] = guest.versions["/over.qcow2"][-1:]
        yield guest._next("q", 65536, data)
        vm.hmp("commit q")
        guest.versions["q"] = guest.versions["q"][-1:]
        yield guest.promise()
        vm.cmd("blockdev-snapshot-internal-sync", device="q", name=f"s{byte}")


def bitmaps(vm: qmpd.Machine) -> Iterator[Promise]:
    """Persistent bitmaps: made, stored, merged, cleared, removed."""
    guest = Guest(vm)
    for name in ("a", "b"):
        vm.cmd("block-dirty-bitmap-add", node="q", name=name, persistent=True)
    yield from guest.write(0, 65536, 1)
    vm.restart()
    yield from guest.closed()
    yield from guest.write(65536, 65536, 2)
    vm.cmd("block-dirty-bitmap-disable", node="q", name="b")
    vm.cmd("block-dirty-bitmap-add", node="q", name="c", persistent=True)
    vm.cmd("block-dirty-bitmap-merge", node="q", target="c", bitmaps=["a", "b"])
    vm.cmd("block-dirty-bitmap-remove", node="q", name="b")
    vm.restart()
    yield from guest.closed()
    yield from guest.write(524_288, 4096, 3)
    vm.restart()
    yield from guest.closed()
    for name in ("a", "c"):
        vm.cmd("block-dirty-bitmap-remove", node="q", name=name)
    yield from guest.write(0, 512, 4)
    yield from guest.flush()


def many_bitmaps(vm: qmpd.Machine) -> Iterator[Promise]:
    """A directory of bitmaps that grows and shrinks."""
    guest = Guest(vm)
    for number in range(16):
        name = f"{number}" * 20
        vm.cmd("block-dirty-bitmap-add", node="q", name=name, persistent=True, granularity=512)
    yield from guest.write(0, 131_072, 1)
    vm.restart()
    yield from guest.closed()
    for number in range(0, 16, 2):
        vm.cmd("block-dirty-bitmap-remove", node="q", name=f"{number}" * 20)
    vm.restart()
    yield from guest.write(0, 512, 2)
    yield from guest.flush()


def image(path: str, **options: Any) -> dict[str, Any]:
    """Options of a node on an image."""
    return {"driver": "qcow2", "file": {"driver": "file", "filename": path}, **options}


def create(vm: qmpd.Machine, path: str, **options: Any) -> None:
    """Make an image by blockdev-create."""
    vm.cmd("blockdev-create", job_id="c", options={"driver": "file", "filename": path, "size": 0})
    vm.job("c").wait()
    vm.cmd("job-dismiss", id="c")
    vm.cmd("blockdev-add", {"driver": "file", "filename": path, "node-name": "made"})
    what = {"driver": "qcow2", "file": "made", "size": SIZE, **options}
    vm.cmd("blockdev-create", {"job-id": "c", "options": what})
    vm.job("c").wait()
    assert vm.job("c").error is None
    vm.cmd("job-dismiss", id="c")
    vm.cmd("blockdev-del", node_name="made")


def creation(**options: Any) -> Scenario:
    """New images."""

    def scenario(vm: qmpd.Machine) -> Iterator[Promise]:
        guest = Guest(vm)
        create(vm, "/new.qcow2", **options)
        yield from guest.opens("/new.qcow2")
        guest.more = Promise()
        yield guest.promise()
        create(vm, "/new.qcow2", **options)
        yield from guest.opens("/new.qcow2")

    return scenario


def overlay(vm: qmpd.Machine) -> Iterator[Promise]:
    """An external snapshot, whose clusters are copied from below."""
    guest = Guest(vm)
    yield from guest.write(0, 262_144, 1)
    yield from guest.flush()
    vm.cmd("blockdev-snapshot-sync", {"device": "q", "snapshot-file": "/over.qcow2"})
    yield from guest.opens("/over.qcow2")
    guest.versions["/over.qcow2"] = guest.versions["q"][-1:]
    for offset, byte in ((512, 2), (4096, 3), (300_032, 4)):
        data = bytes([byte]) * 1024
        yield guest._next("/over.qcow2", offset, data)
        vm.disk("q").write(offset, data)
    vm.disk("q").flush()
    guest.versions["/over.qcow2"] = guest.versions["/over.qcow2"][-1:]
    yield guest.promise()


def commit(vm: qmpd.Machine) -> Iterator[Promise]:
    """An overlay that is committed into the image below it."""
    guest = Guest(vm)
    yield from guest.write(0, 262_144, 1)
    yield from guest.flush()
    vm.cmd("blockdev-snapshot-sync", {"device": "q", "snapshot-file": "/over.qcow2"})
    vm.disk("q").write(65536, b"\2" * 65536)
    vm.disk("q").flush()
    yield guest._next("q", 65536, b"\2" * 65536)
    vm.cmd("block-commit", {"job-id": "j", "device": "q"})
    vm.job("j").wait("ready")
    vm.cmd("job-complete", id="j")
    vm.job("j").wait()
    assert vm.job("j").error is None
    yield from guest.flush()
    yield from guest.write(0, 4096, 3)


def stream(vm: qmpd.Machine) -> Iterator[Promise]:
    """An overlay that takes in what is below it."""
    guest = Guest(vm)
    yield from guest.write(0, 262_144, 1)
    yield from guest.flush()
    vm.cmd("blockdev-snapshot-sync", {"device": "q", "snapshot-file": "/over.qcow2"})
    guest.versions["/over.qcow2"] = guest.versions["q"][-1:]
    yield from guest.opens("/over.qcow2")
    vm.cmd("block-stream", {"job-id": "j", "device": "q"})
    vm.job("j").wait()
    assert vm.job("j").error is None
    vm.disk("q").flush()
    yield guest.promise()


def copied(command: str, *, target: dict[str, Any] | None = None, **options: Any) -> Scenario:
    """A backup or a mirror into another image."""

    def scenario(vm: qmpd.Machine) -> Iterator[Promise]:
        guest = Guest(vm)
        create(vm, "/target.qcow2", **(target or {}))
        vm.cmd("blockdev-add", image("/target.qcow2", **{"node-name": "t"}))
        yield from guest.opens("/target.qcow2")
        yield from guest.write(0, 262_144, 1)
        yield from guest.write(524_288, 8192, 2)
        yield from guest.flush()
        job = {"job-id": "j", "device": "q", "target": "t", "sync": "full", **options}
        vm.cmd(f"blockdev-{command}", job)
        if command == "mirror":
            vm.job("j").wait("ready")
            vm.cmd("job-complete", id="j")
        vm.job("j").wait()
        assert vm.job("j").error is None
        if command == "mirror":
            # the guest is on the target now
            vm.disk("q").flush()
            guest.versions["/target.qcow2"] = guest.versions["q"][-1:]
            yield guest.promise()
            return
        vm.cmd("blockdev-del", node_name="t")
        guest.versions["/target.qcow2"] = guest.versions["q"][-1:]
        yield guest.promise()
        yield from guest.write(0, 512, 3)

    return scenario


def amended(vm: qmpd.Machine) -> Iterator[Promise]:
    """Changes of the header: another backing file, lazy refcounts on and off."""
    guest = Guest(vm)
    yield from guest.write(0, 65536, 1)
    yield from guest.flush()
    reopen(vm, **{"lazy-refcounts": True})
    yield from guest.write(65536, 65536, 2)
    yield from guest.flush()
    reopen(vm, **{"lazy-refcounts": False})
    yield from guest.write(131_072, 65536, 3)
    yield from guest.flush()
    vm.restart()
    yield from guest.closed()
    yield from guest.write(0, 512, 4)


def mixed(vm: qmpd.Machine) -> Iterator[Promise]:
    """Snapshots and bitmaps and resizing, one after the other."""
    guest = Guest(vm)
    vm.cmd("block-dirty-bitmap-add", node="q", name="a", persistent=True)
    yield from guest.write(0, 131_072, 1)
    vm.restart()
    yield from guest.closed()
    vm.cmd("blockdev-snapshot-internal-sync", device="q", name="one")
    yield from guest.write(65536, 131_072, 2)
    vm.cmd("block-dirty-bitmap-remove", node="q", name="a")
    vm.cmd("blockdev-snapshot-delete-internal-sync", device="q", name="one")
    vm.cmd("block_resize", {"node-name": "q", "size": 4 * SIZE})
    yield from guest.write(0, 4096, 3)
    vm.cmd("block-dirty-bitmap-add", node="q", name="late", persistent=True)
    yield from guest.flush()
    vm.restart()
    yield from guest.closed()


OPTIONS: dict[str, dict[str, str]] = {
    "plain": {},
    "lazy": {"lazy_refcounts": "on"},
    "extended": {"extended_l2": "on", "cluster_size": "16k"},
    "tiny": {"cluster_size": "512"},
    "large": {"cluster_size": "64k"},
    "old": {"version": "v2"},
    "one bit": {"refcount_bits": "1"},
    "64 bits": {"refcount_bits": "64"},
    "reserved": {"preallocation": "metadata"},
    "full": {"preallocation": "full"},
}
"""How the image is made."""

SCENARIOS: dict[str, tuple[Scenario, str]] = {
    **{f"writes, {name}": (writes, name) for name in OPTIONS},
    **{f"zeroes, {name}": (zeroes, name) for name in OPTIONS if name != "full"},
    **{
        f"discards, {name}": (discards, name)
        for name in ("plain", "lazy", "extended", "tiny", "64 bits")
    },
    **{
        f"small caches, {name}": (small_caches, name)
        for name in ("plain", "lazy", "tiny", "extended")
    },
    **{f"grow, {name}": (grow, name) for name in ("plain", "lazy", "tiny", "old")},
    **{f"shrink, {name}": (shrink, name) for name in ("plain", "extended", "large")},
    **{
        f"internal snapshots, {name}": (internal_snapshots, name)
        for name in ("plain", "lazy", "tiny", "large", "extended", "old", "64 bits")
    },
    **{f"go back, {name}": (go_back, name) for name in ("plain", "tiny", "extended", "old")},
    "go back, resized": (go_back_resized, "plain"),
    "emptied": (emptied, "plain"),
    **{f"bitmaps, {name}": (bitmaps, name) for name in ("plain", "lazy", "extended", "tiny")},
    "many bitmaps": (many_bitmaps, "plain"),
    "many bitmaps, tiny": (many_bitmaps, "tiny"),
    "creation": (creation(), "plain"),
    "creation, tables": (creation(preallocation="metadata"), "plain"),
    "creation, full": (creation(preallocation="falloc"), "plain"),
    "creation, lazy and extended": (
        creation(**{"lazy-refcounts": True, "extended-l2": True}),
        "plain",
    ),
    "overlay": (overlay, "plain"),
    "overlay, extended": (overlay, "extended"),
    "commit": (commit, "plain"),
    "commit, lazy": (commit, "lazy"),
    "stream": (stream, "plain"),
    "backup": (copied("backup"), "plain"),
    "backup, compressed": (copied("backup", compress=True), "plain"),
    "backup, into lazy": (copied("backup", target={"lazy-refcounts": True}), "plain"),
    "mirror": (copied("mirror"), "plain"),
    "mirror, into extended": (copied("mirror", target={"extended-l2": True}), "plain"),
    "amended": (amended, "plain"),
    "mixed": (mixed, "plain"),
    "mixed, lazy": (mixed, "lazy"),
}
"""What happens, and to which image."""


def losses(name: str) -> Iterator[tuple[Promise | None, dict[str, MemoryFile]]]:
    """What is left of the files at each point of a scenario, and what had been promised."""
    scenario, options = SCENARIOS[name]
    images: Any = {"q": {**Q, **OPTIONS[options]}}
    for point in _run(scenario, Setup(images=images, power=True)):
        for keep in KEEPS:
            random = Random(point.number)
            files = {path: file.left(keep, random) for path, file in point.files.items()}
            yield point.reached, files
