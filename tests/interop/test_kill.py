"""A program that is killed at any moment leaves an image with all that it had made stable."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.interop.bench import ImageBench, needs_qemu_img, qemu_img

KILLS = int(os.environ.get("QMPD_KILLS", "80"))
SIZE = 4 << 20
UNIT = 4096
_ACK = struct.Struct("<I")

Step = tuple[str, int, int, int]
"""What is done (write, zero, discard, compress, flush), first unit, units, byte."""


def load(seed: int) -> list[Step]:
    """A load that is the same for the same seed."""
    chance = random.Random(seed)
    steps: list[Step] = []
    for _ in range(400):
        kind = chance.choice(["write"] * 6 + ["zero", "discard", "flush", "flush"])
        first = chance.randrange(SIZE // UNIT)
        count = min(chance.choice([1, 1, 3, 16, 40]), SIZE // UNIT - first)
        steps.append((kind, first, count, chance.randrange(1, 256)))
    return steps


def work(path: Path, steps: list[Step], pipe: int) -> None:
    """Do the steps, telling of each that is done; ends by being killed."""
    bench = ImageBench()
    node = bench.open(path)
    for number, (kind, first, count, byte) in enumerate(steps):
        offset, length = first * UNIT, count * UNIT
        if kind == "write":
            bench.run(node.pwrite(offset, bytes([byte]) * length))
        elif kind == "zero":
            bench.run(node.pwrite_zeroes(offset, length, may_unmap=True))
        elif kind == "discard":
            bench.run(node.pdiscard(offset, length))
        else:
            bench.run(node.flush())
        os.write(pipe, _ACK.pack(number))


def run_and_kill(path: Path, steps: list[Step], moment: float) -> int:
    """Have a process do the steps, and kill it; returns how many it has told of.

    :param moment: seconds after its first step
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            work(path, steps, writing)
            time.sleep(60)
        finally:
            os._exit(1)
    os.close(writing)
    select.select([reading], [], [], 30)
    deadline = time.monotonic() + moment
    while time.monotonic() < deadline:
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    done = b""
    while chunk := os.read(reading, 1 << 16):
        done += chunk
    os.close(reading)
    return len(done) // _ACK.size


class Possible:
    """For every unit the bytes it may hold."""

    def __init__(self) -> None:
        self.units: list[set[int]] = [{0} for _ in range(SIZE // UNIT)]

    def follow(self, steps: list[Step], told: int) -> None:
        """Go through the steps, of which `told` were told of."""
        flushed = max((n for n, step in enumerate(steps[:told]) if step[0] == "flush"), default=-1)
        # One more may have been done, in part, when the end came.
        for number, (kind, first, count, byte) in enumerate(steps[: told + 1]):
            for unit in range(first, first + count):
                if kind == "flush":
                    break
                value = byte if kind == "write" else 0
                if number > flushed or kind == "discard":
                    self.units[unit] = self.units[unit] | {value}
                else:
                    self.units[unit] = {value}

    def check(self, content: bytes) -> None:
        for unit, allowed in enumerate(self.units):
            piece = content[unit * UNIT : (unit + 1) * UNIT]
            found = set(piece[::512])
            assert found <= allowed, (unit, found, allowed)
            assert all(
                piece[at : at + 512] == piece[at : at + 1] * 512 for at in range(0, UNIT, 512)
            )


def geometry(number: int) -> dict[str, Any]:
    kinds: list[dict[str, Any]] = [
        {},
        {"cluster-size": 4096},
        {"lazy-refcounts": True},
        {"extended-l2": True},
        {"cluster-size": 512, "refcount-bits": 64},
        {"version": "v2"},
        {"refcount-bits": 1},
        {"preallocation": "metadata"},
    ]
    return kinds[number % len(kinds)]


@needs_qemu_img
@pytest.mark.parametrize("batch", range(10))
def test_killed_at_a_random_moment(batch: int, tmp_path: Path) -> None:
    for number in range(batch, KILLS, 10):
        path = tmp_path / f"{number}.qcow2"
        bench = ImageBench()
        bench.create(path, SIZE, geometry(number))
        bench.close()
        steps = load(number)
        told = run_and_kill(path, steps, random.Random(-number).uniform(0, 0.06))
        possible = Possible()
        possible.follow(steps, told)
        raw = path.with_suffix(".raw")
        qemu_img("convert", "-U", "-f", "qcow2", "-O", "raw", path, raw)
        possible.check(raw.read_bytes())
        bench = ImageBench()
        node = bench.open(path)
        possible.check(bench.run(node.pread(0, SIZE)))
        bench.shut()
        bench.close()
        subprocess.run(["qemu-img", "check", "-q", "-r", "leaks", str(path)], check=False)
        assert json.loads(qemu_img("check", "--output=json", path))["check-errors"] == 0
        path.unlink()
        raw.unlink()


def test_a_freed_cluster_is_not_used_anew_while_the_image_still_shows_it(tmp_path: Path) -> None:
    path, copy = tmp_path / "disk.qcow2", tmp_path / "copy.qcow2"
    bench = ImageBench()
    bench.create(path, SIZE, {})
    node = bench.open(path)
    cluster = 65536
    bench.run(node.pwrite(0, b"a" * cluster))
    bench.run(node.flush())
    bench.run(node.pdiscard(0, cluster))
    bench.run(node.pwrite(2 * cluster, b"b" * cluster))
    copy.write_bytes(path.read_bytes())
    bench.shut()
    node = bench.open(copy)
    assert set(bench.run(node.pread(0, cluster))) <= set(b"a\0")
    bench.shut()
    bench.close()
