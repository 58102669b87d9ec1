"""Long writes put the same bytes at the same places of the file as QEMU's.

``QMPD_LONG_WRITES`` says how many random images are tried, ``QMPD_LONG_WRITES_SEED`` from which on.
Where QEMU's order hangs on which thread is first, any of three runs will do for these.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .test_driver import Bench
from .test_image import check, qemu_img
from .test_same_bytes import play_there

pytestmark = pytest.mark.skipif(shutil.which("qemu-io") is None, reason="no qemu-io here")
SEED = int(os.environ.get("QMPD_LONG_WRITES_SEED", "1"))
IMAGES = int(os.environ.get("QMPD_LONG_WRITES", "1"))

Write = tuple[int, int, int]
"""Offset, length, byte."""


@dataclass
class Case:
    """An image, and what is written to it.

    :param options: of ``qemu-img create``
    :param before: qemu-io's commands, or the names of snapshots
    """

    options: str
    size: int
    writes: list[Write] = field(default_factory=list)
    before: list[str] = field(default_factory=list)

    def make(self, path: Path) -> None:
        """Make the image."""
        qemu_img("create", "-q", "-f", "qcow2", "-o", self.options, path, str(self.size))
        commands: list[str] = []
        for line in [*self.before, ""]:
            if line[:1].islower():
                commands += ["-c", line]
                continue
            if commands:
                play_there(path, commands)
            commands = []
            if line:
                qemu_img("snapshot", "-c", line, path)


def places(path: Path) -> str:
    """Where in the file everything is."""
    return qemu_img("map", "--output=json", "-f", "qcow2", path).stdout


def written_by_qemu(case: Case, image: Path, name: str) -> Path:
    """A copy of the image to which QEMU has written."""
    path = image.with_name(name)
    shutil.copy(image, path)
    lines = [f"write -P {byte} {offset} {length}" for offset, length, byte in case.writes]
    play_there(path, [word for line in lines for word in ("-c", line)])
    return path


def written_here(case: Case, image: Path) -> Path:
    """A copy of the image to which qmpd has written."""
    path = image.with_name("ours")
    shutil.copy(image, path)
    bench = Bench(image.parent)
    node = bench.add("q", "ours")
    for offset, length, byte in case.writes:
        bench.run(node.pwrite(offset, bytes([byte]) * length))
    bench.close()
    return path


def over_holes(cluster: int) -> Case:
    """Many L2 tables are to be allocated where clusters are small."""
    size = min(cluster * 4096, 64 << 20)
    return Case(f"cluster_size={cluster}", size, [(cluster // 2, size - cluster, 7)])


def over_data(cluster: int) -> Case:
    """Every third cluster is there, out of order."""
    case = over_holes(cluster)
    places = list(range(0, case.size // cluster, 3))
    random.Random(cluster).shuffle(places)
    case.before = [f"write {cluster * place} {cluster}" for place in places[:200]]
    return case


def over_snapshot(cluster: int) -> Case:
    """Data of a snapshot, and data that is not."""
    case = over_data(cluster)
    case.before += ["SNAPSHOT", f"write {cluster * 5} {cluster * 20}", f"discard 0 {cluster * 3}"]
    return case


def over_subclusters(cluster: int) -> Case:
    """Clusters that have some of their subclusters."""
    case = over_holes(cluster)
    case.options += ",extended_l2=on"
    places = range(0, 64 * cluster, 3 * cluster // 2)
    case.before = [f"write {place} 512" for place in places]
    case.before += ["SNAPSHOT", *(f"write {place} 1024" for place in places[::4])]
    return case


@pytest.mark.parametrize(
    ("make", "cluster"),
    [
        *((over_holes, 512), (over_data, 4096), (over_snapshot, 512), (over_snapshot, 65536)),
        *((over_subclusters, 16384), (over_subclusters, 65536)),
    ],
)
def test_long_writes(tmp_path: Path, make: Callable[[int], Case], cluster: int) -> None:
    case = make(cluster)
    image = tmp_path / "image"
    case.make(image)
    ours, theirs = written_here(case, image), written_by_qemu(case, image, "theirs")
    check(ours)
    assert places(ours) == places(theirs)
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("compressed", [2, 3])
def test_parts_do_not_get_what_earlier_ones_free(tmp_path: Path, compressed: int) -> None:
    # The first part frees clusters that would do for all others; in QEMU these have theirs by then.
    cluster = 65536
    half = tmp_path / "half"
    half.write_bytes(random.Random(1).randbytes(cluster * 6 // 10) + bytes(cluster * 4 // 10))
    case = Case("cluster_size=64k", 64 << 20)
    for place in (0, 1, 2, 3, *(5 + 2 * n for n in range(compressed))):
        case.before.append(f"write -c -s {half} {place * cluster} {cluster}")
    case.before += [f"write {(4 + 2 * n) * cluster} {cluster}" for n in range(compressed)]
    case.writes = [(0, (5 + 2 * compressed) * cluster, 9)]
    image = tmp_path / "image"
    case.make(image)
    ours, theirs = written_here(case, image), written_by_qemu(case, image, "theirs")
    check(ours)
    assert places(ours) == places(theirs)
    assert ours.read_bytes() == theirs.read_bytes()


KINDS = (
    *("cluster_size=512", "cluster_size=512,refcount_bits=64", "cluster_size=1k"),
    *("cluster_size=2k,lazy_refcounts=on", "cluster_size=4k", "cluster_size=4k,compat=0.10"),
    *("cluster_size=16k,extended_l2=on", "cluster_size=64k"),
)


def random_case(seed: int) -> Case:
    """Runs of holes, data, zeroes and compressed data, written in any order, and long writes."""
    chance = random.Random(seed)
    options = chance.choice(KINDS)
    unit = options.partition("=")[2].partition(",")[0]
    cluster = int(unit[:-1]) << 10 if unit.endswith("k") else int(unit)
    case = Case(options, min(cluster * 4096, 64 << 20))
    offset = 0
    while offset < case.size and len(case.before) < 120:
        length = min(chance.choice([1, 2, 3, 8, 20, 80]) * cluster, case.size - offset)
        kind = chance.choice(["write -c", "write -c", "write", "write -z", ""])
        if kind:
            pattern = "" if kind == "write -z" else f"-P {chance.randrange(1, 255)} "
            case.before.append(f"{kind} {pattern}{offset} {length}")
        offset += length
    chance.shuffle(case.before)
    if chance.random() < 0.3:
        case.before.insert(len(case.before) // 2, "SNAPSHOT")
    for _ in range(chance.randrange(1, 4)):
        offset = chance.randrange(case.size // 1024) * 512 * chance.randrange(2)
        longest = case.size - offset
        length = min(case.size // chance.choice([1, 2, 4]), longest)
        case.writes.append((offset, length, chance.randrange(1, 255)))
    return case


@pytest.mark.parametrize("seed", range(SEED, SEED + IMAGES))
def test_random_long_writes(tmp_path: Path, seed: int) -> None:
    case = random_case(seed)
    image = tmp_path / "image"
    case.make(image)
    ours = written_here(case, image)
    check(ours)
    theirs = [places(written_by_qemu(case, image, f"theirs{run}")) for run in range(3)]
    assert places(ours) in theirs
