"""Images of each version, both ways: what its qemu-img makes, qmpd works at, and it judges.

The real program does the same to images of its own, and both come out the same to the byte.
Each version has a third of the cases; all with ``QMPD_IMAGES_OF_VERSIONS=all``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pytest

from tests.interop.sides import Sides
from tests.support.versions import MEASURED

SIZE: Final = 3 << 20

BACKED: Final = "backing_file=base.qcow2,backing_fmt=qcow2"

MADE: Final = (
    "compat=1.1",
    "compat=0.10",
    "compression_type=zstd",
    "extended_l2=on",
    "lazy_refcounts=on",
    "preallocation=metadata",
    "preallocation=falloc",
    "compat=0.10,preallocation=full",
    "cluster_size=4k,refcount_bits=64",
    "cluster_size=512,refcount_bits=1",
    "data_file=disk.raw",
    "data_file=disk.raw,data_file_raw=on",
    "data_file=disk.raw,preallocation=metadata,extended_l2=on",
    BACKED,
    f"{BACKED},extended_l2=on",
)
"""Options of qemu-img create."""

CREATED: Final[Sequence[dict[str, Any]]] = (
    {},
    {"version": "v2"},
    {"version": "v3", "compression-type": "zlib"},
    {"compression-type": "zstd"},
    {"extended-l2": True},
    {"lazy-refcounts": True},
    {"preallocation": "metadata"},
    {"preallocation": "falloc"},
    {"preallocation": "full", "cluster-size": 4096},
    {"refcount-bits": 1},
    {"backing-file": "base.qcow2", "backing-fmt": "qcow2"},
    {"backing-file": "base.qcow2"},
    {"data-file": "data"},
    {"data-file": "data", "data-file-raw": True},
    {"data-file": "data", "data-file-raw": True, "preallocation": "falloc"},
    {"version": "v2", "lazy-refcounts": True},
    {"version": "v2", "extended-l2": True},
)
"""Options of blockdev-create."""

COPIES: Final[Sequence[dict[str, Any]]] = (
    {"command": "drive-mirror", "sync": "full", "format": "qcow2"},
    {"command": "drive-mirror", "sync": "top", "format": "qcow2"},
    {"command": "drive-mirror", "sync": "full"},
    {"command": "drive-backup", "sync": "full", "format": "qcow2"},
    {"command": "drive-backup", "sync": "full", "compress": True},
    {"command": "drive-backup", "sync": "top"},
)
"""Commands that make an image for a copy, and arguments."""

OVERLAYS: Final[Sequence[dict[str, Any]]] = ({}, {"format": "qcow2"}, {"format": "raw"})
"""Arguments of blockdev-snapshot-sync."""


def each(cases: Sequence[Any]) -> pytest.MarkDecorator:
    """The cases of each version."""
    every = 1 if os.environ.get("QMPD_IMAGES_OF_VERSIONS") == "all" else 3
    return pytest.mark.parametrize(
        ("sides", "case"),
        [
            (version, case)
            for number, version in enumerate(MEASURED)
            for case in cases[number % every :: every]
        ],
        indirect=["sides"],
        ids=str,
    )


@pytest.fixture(scope="module")
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Sides]]:
    """The programs of all versions so far."""
    found: dict[str, Sides] = {}
    yield found
    for sides in found.values():
        sides.close()


@pytest.fixture
def sides(
    request: pytest.FixtureRequest,
    started: dict[str, Sides],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Sides]:
    version = request.param
    if version not in started:
        started[version] = Sides(version, tmp_path_factory.mktemp("sides"))
        started[version].img("create", "-f", "qcow2", "base.qcow2", str(SIZE))
    yield started[version]
    started[version].clear()


def add(sides: Sides) -> bool:
    """Open ``disk.qcow2``; returns whether it could be."""
    file = {"driver": "file", "filename": "disk.qcow2", "discard": "unmap"}
    answer = sides.execute(
        "blockdev-add", driver="qcow2", node_name="disk", file=file, discard="unmap"
    )
    return "return" in answer


def delete(sides: Sides, node: str = "disk") -> None:
    sides.execute("blockdev-del", node_name=node)


def judge(sides: Sides, *names: str) -> None:
    """The same bytes, and the version's qemu-img finds nothing wrong."""
    for name in names:
        sides.compare(name)
        sides.img("info", "--output=json", "--backing-chain", name)
        sides.img("check", name)


def work(sides: Sides, cluster: str = "64k") -> None:
    for name, granularity in (("b0", 65536), ("b1", 4096)):
        sides.execute(
            "block-dirty-bitmap-add",
            node="disk",
            name=name,
            granularity=granularity,
            persistent=True,
        )
    sides.io("disk", "write -P 1 0 150k")
    sides.io("disk", "write -P 2 1M 70k")
    sides.execute("blockdev-snapshot-internal-sync", device="disk", name="first")
    sides.io("disk", "write -P 3 64k 70k")
    # of one cluster: several would be compressed side by side, and come in any order
    sides.io("disk", f"write -c -P 4 2M {cluster}")
    sides.io("disk", "write -z 1M 64k")
    sides.io("disk", "write -z -u 0 64k")
    sides.execute("block-dirty-bitmap-disable", node="disk", name="b1")
    sides.execute("blockdev-snapshot-internal-sync", device="disk", name="second")
    sides.io("disk", "discard 64k 64k")
    sides.io("disk", "write -P 5 2M 4k")


def change(sides: Sides) -> None:
    """What qemu-img does to it between two times that it is open."""
    sides.img("bitmap", "--add", "--disable", "-g", "64k", "disk.qcow2", "b2")
    sides.img("bitmap", "--merge", "b0", "disk.qcow2", "b2")
    sides.img("bitmap", "--enable", "disk.qcow2", "b1")
    sides.img("snapshot", "-c", "third", "disk.qcow2")


def work_again(sides: Sides) -> None:
    sides.execute("query-named-block-nodes")
    for name in ("b0", "b1", "b2"):
        sides.execute("x-debug-block-dirty-bitmap-sha256", node="disk", name=name)
    sides.io("disk", "read -P 3 96k 4k")
    sides.execute("block_resize", node_name="disk", size=SIZE + (1 << 20))
    sides.execute("blockdev-snapshot-delete-internal-sync", device="disk", name="first")
    sides.execute("block-dirty-bitmap-remove", node="disk", name="b0")
    sides.execute("block_resize", node_name="disk", size=SIZE + (1 << 20))
    sides.io("disk", "write -P 6 2M 128k")


@each(MADE)
def test_images_of_qemu_img(sides: Sides, case: str) -> None:
    sides.img("create", "-f", "qcow2", "-o", case, "disk.qcow2", str(SIZE))
    if not add(sides):
        return
    sides.execute("query-named-block-nodes")
    sizes = [word for word in case.split(",") if word.startswith("cluster_size=")]
    work(sides, sizes[0].removeprefix("cluster_size=") if sizes else "64k")
    delete(sides)
    judge(sides, "disk.qcow2")
    change(sides)
    if add(sides):
        work_again(sides)
        delete(sides)
    judge(sides, "disk.qcow2")


@each(CREATED)
def test_images_of_blockdev_create(sides: Sides, case: dict[str, Any]) -> None:
    for node, name in (("file", "disk.qcow2"), ("data", "disk.raw")):
        sides.job("blockdev-create", options={"driver": "file", "filename": name, "size": 0})
        sides.execute("blockdev-add", driver="file", node_name=node, filename=name)
    sides.job("blockdev-create", options={"driver": "qcow2", "file": "file", "size": SIZE, **case})
    delete(sides, "file")
    delete(sides, "data")
    sides.compare("disk.raw")
    judge(sides, "disk.qcow2")
    if add(sides):
        work(sides, "4k" if "cluster-size" in case else "64k")
        delete(sides)
        judge(sides, "disk.qcow2")


@each(COPIES)
def test_images_of_copies(sides: Sides, case: dict[str, Any]) -> None:
    sides.img("create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "disk.qcow2", str(SIZE))
    add(sides)
    # of one cluster, as above
    sides.io("disk", "write -P 1 0 64k" if "compress" in case else "write -P 1 0 150k")
    sides.io("disk", "write -z 1M 128k")
    arguments = {name: value for name, value in case.items() if name != "command"}
    sides.job(case["command"], device="disk", target="disk2.qcow2", **arguments)
    delete(sides)
    judge(sides, "disk.qcow2", "disk2.qcow2")


@each(OVERLAYS)
def test_images_of_snapshots(sides: Sides, case: dict[str, Any]) -> None:
    sides.img("create", "-f", "qcow2", "disk.qcow2", str(SIZE))
    add(sides)
    sides.io("disk", "write -P 1 0 150k")
    named = {"node_name": "disk", "snapshot_node_name": "over", "snapshot_file": "disk2.qcow2"}
    made = "return" in sides.execute("blockdev-snapshot-sync", **named, **case)
    if made:
        sides.io("over", "write -P 2 64k 70k")
        delete(sides, "over")
    delete(sides)
    judge(sides, "disk.qcow2", *(["disk2.qcow2"] if made else []))
