"""Damaged images opened by QEMU and by this code: the same texts, or both open."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from qmpd.block.change.blockdev import blockdev_del
from qmpd.errors import QmpError

from .fakes import host_file, open_node
from .test_bitmaps import needs_qsd
from .test_driver import Bench
from .test_faults import build

FIELDS = {
    "magic": (0, 4),
    "version": (4, 4),
    "backing_file_offset": (8, 8),
    "backing_file_size": (16, 4),
    "cluster_bits": (20, 4),
    "size": (24, 8),
    "l1_size": (36, 4),
    "l1_table_offset": (40, 8),
    "refcount_table_offset": (48, 8),
    "refcount_table_clusters": (56, 4),
    "nb_snapshots": (60, 4),
    "snapshots_offset": (64, 8),
    "incompatible": (72, 8),
    "compatible": (80, 8),
    "autoclear": (88, 8),
    "refcount_order": (96, 4),
    "header_length": (100, 4),
    "compression_type": (104, 1),
}
VALUES = (0, 1, 2, 3, 7, 8, 9, 16, 31, 64, 100, 105, 255, 512, 4095, 4096, 8192, 1 << 20, 1 << 31)


def cases(places: dict[str, tuple[int, int]]) -> list[tuple[int, bytes]]:
    """Patches: where, and what is put there."""
    patches = []
    for offset, size in FIELDS.values():
        for value in (*VALUES, 1 << 40, 1 << 56, (1 << 63) - 1, 1 << 63, (1 << 64) - 512):
            if value < 1 << 8 * size:
                patches.append((offset, value.to_bytes(size, "big")))
    choice = random.Random(0)
    for name in ("bitmaps", "snapshots"):
        start, length = places[name]
        for position in range(length):
            patches.append((start + position, bytes([choice.randrange(256)])))
    for position in range(112, 600):
        if position % 3 == 0 or position < 150:
            patches.append((position, bytes([choice.randrange(256)])))
    return patches


def answers_of_qemu(
    paths: list[Path], options: list[dict[str, Any]] | None = None
) -> list[str | None]:
    """What opening each of the images read-only in one QEMU says; None where it works."""
    requests: list[dict[str, Any]] = [{"execute": "qmp_capabilities"}]
    for number, path in enumerate(paths):
        image = {
            "driver": "qcow2",
            "node-name": f"n{number}",
            "read-only": True,
            "backing": None,
            "file": {"driver": "file", "filename": str(path)},
            **(options[number] if options else {}),
        }
        requests.append({"execute": "blockdev-add", "arguments": image})
    requests.append({"execute": "quit"})
    process = subprocess.run(
        ["qemu-storage-daemon", "--chardev", "stdio,id=m", "--monitor", "m"],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in process.stdout.splitlines()]
    answers = [answer for answer in answers if "return" in answer or "error" in answer]
    return [answer["error"]["desc"] if "error" in answer else None for answer in answers[1:-1]]


def answer_here(path: Path) -> str | None:
    try:
        host_file(open_node(path, read_only=True)).close()
    except QmpError as error:
        return error.desc
    return None


@needs_qsd
def test_same_errors(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    patches = cases(build(whole))
    raw = whole.read_bytes()
    paths = []
    for number, (offset, data) in enumerate(patches):
        path = tmp_path / f"{number}"
        path.write_bytes(raw[:offset] + data + raw[offset + len(data) :])
        paths.append(path)
    theirs = answers_of_qemu(paths)
    assert len(theirs) == len(paths)
    different = [
        (patch, here, there)
        for patch, path, there in zip(patches, paths, theirs, strict=True)
        if (here := answer_here(path)) != there
    ]
    assert not different


OPTIONS: list[dict[str, Any]] = [
    {"lazy-refcounts": True},
    {"l2-cache-size": -1},
    {"cache-size": -1},
    {"refcount-cache-size": -1},
    {"l2-cache-entry-size": -1},
    {"l2-cache-entry-size": 0},
    {"l2-cache-entry-size": 513},
    {"l2-cache-entry-size": 1 << 20},
    {"l2-cache-size": 0},
    {"l2-cache-size": 1 << 60},
    {"refcount-cache-size": 0},
    {"cache-size": 0},
    {"cache-size": 1 << 20, "l2-cache-size": 1 << 21},
    {"cache-size": 1 << 20, "refcount-cache-size": 1 << 21},
    {"cache-size": 4, "refcount-cache-size": 1, "l2-cache-size": 1},
    {"cache-clean-interval": 0},
    {"cache-clean-interval": -1},
    {"cache-clean-interval": (1 << 32) - 1},
    {"cache-clean-interval": 1 << 32},
    {"overlap-check": "all"},
    {"overlap-check": {"template": "none", "active-l1": True}},
    {"discard-no-unref": True},
    {"encrypt": {"format": "luks"}},
    {"encrypt": {"format": "aes", "key-secret": "s"}},
    {"data-file": "nope"},
    {"pass-discard-request": True, "pass-discard-snapshot": False, "pass-discard-other": True},
]


@needs_qsd
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_same_option_errors(tmp_path: Path, version: str) -> None:
    bench = Bench(tmp_path)
    bench.create("a.qcow2", version=version)
    theirs = answers_of_qemu([tmp_path / "a.qcow2"] * len(OPTIONS), OPTIONS)
    ours: list[str | None] = []
    for options in OPTIONS:
        try:
            bench.add("q", "a.qcow2", **options)
        except QmpError as error:
            ours.append(error.desc)
        else:
            ours.append(None)
            bench.run(blockdev_del(bench.graph, "q"))
    different = [case for case in zip(OPTIONS, ours, theirs, strict=True) if case[1] != case[2]]
    assert not different
