"""Images that are damaged, dirty or interrupted: what opening says, does to them and leaves."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.strangers.world import SIDES
from tests.support.normal import normal, normal_text
from tests.support.programs import qemu_missing, qmpd_argv
from tests.support.stdio import StdioProgram

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

ARGV = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
ARGV += ["-qmp", "stdio"]
BITMAPS = 0x23852875
Request = dict[str, Any]

NODES: Request = {"execute": "query-named-block-nodes", "arguments": {"flat": True}}


def hmp(line: str) -> Request:
    return {"execute": "human-monitor-command", "arguments": {"command-line": line}}


def add(name: str, **options: Any) -> Request:
    file = {"driver": "file", "filename": f"{name}.qcow2"}
    node = {"driver": "qcow2", "node-name": name, "file": file, **options}
    return {"execute": "blockdev-add", "arguments": node}


def drop(name: str) -> Request:
    return {"execute": "blockdev-del", "arguments": {"node-name": name}}


def poke(path: Path, offset: int, data: bytes) -> None:
    """Write bytes into a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def img(folder: Path, *arguments: str) -> str:
    """What qemu-img or qemu-io says of it."""
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    return normal_text(f"{done.returncode}\n{done.stdout}{done.stderr}", str(folder))


def used(folder: Path, requests: list[Request], *, ours: bool, kill: bool = False) -> list[Any]:
    """Answers, events and words of a program that is given requests and ends."""
    program = StdioProgram(qmpd_argv(ARGV) if ours else ARGV, folder)
    program.message()
    program.execute({"execute": "qmp_capabilities"})
    seen = [(request, normal(program.execute(request), str(folder))) for request in requests]
    if kill:
        program.process.kill()
        program.process.wait()
    else:
        program.execute({"execute": "quit"})
        program.process.wait(20)
    words = re.sub(r"qemu-system-x86_64: |main\.py: ", "PROGRAM: ", program.stderr())
    program.close()
    return [*seen, *normal_text(words, str(folder)).splitlines()]


def compare(tmp_path: Path, play: Callable[[Path, bool], list[Any]]) -> list[Any]:
    """Play on both sides, which must show the same; returns that."""
    shown = {}
    for side in SIDES:
        folder = tmp_path / side
        folder.mkdir()
        shown[side] = play(folder, side == "ours")
    for expected, got in zip(shown["real"], shown["ours"], strict=True):
        assert got == expected
    return shown["real"]


def use(name: str) -> list[Request]:
    """Open an image, and do a bit of everything with it."""
    backup = {"device": name, "target": name, "sync": "full", "job-id": "x"}
    return [
        *(add(name, **{"read-only": True}), NODES, drop(name)),
        *(add(name), NODES),
        hmp(f'qemu-io {name} "read -P 1 0 256k"'),
        hmp(f'qemu-io {name} "write -P 2 64k 64k"'),
        hmp(f'qemu-io {name} "write -P 2 1M 64k"'),
        hmp(f'qemu-io {name} "discard 0 64k"'),
        {"execute": "blockdev-backup", "arguments": backup},
        *(NODES, drop(name)),
    ]


def create(folder: Path, name: str, *, data: bool = False) -> Path:
    img(folder, "qemu-img", "create", "-q", "-f", "qcow2", f"{name}.qcow2", "4M")
    if data:
        img(folder, "qemu-io", "-f", "qcow2", "-c", "write -P 1 0 256k", f"{name}.qcow2")
    return folder / f"{name}.qcow2"


@pytest.mark.parametrize("lazy", [True, False])
def test_a_program_was_killed(tmp_path: Path, lazy: bool) -> None:
    def play(folder: Path, ours: bool) -> list[Any]:
        create(folder, "d")
        lost = add("d", **{"lazy-refcounts": lazy})
        requests = [lost, hmp('qemu-io d "write -P 1 0 256k"'), hmp("qemu-io d flush"), NODES]
        shown = used(folder, requests, ours=ours, kill=True)
        shown.append(img(folder, "qemu-img", "check", "d.qcow2"))
        shown += used(folder, use("d"), ours=ours)
        return [*shown, img(folder, "qemu-img", "check", "d.qcow2")]

    assert ("Rebuilding refcount structure" in compare(tmp_path, play)) is lazy


POKED: list[tuple[str, int, bytes]] = [
    ("L2 entry points to the L1 table", 262_152, b"\200\0\0\0\0\3\0\0"),
    ("L2 entry not aligned", 262_152, b"\200\0\0\0\0\5\2\0"),
    ("refcount of a used cluster is 0", 131_082, b"\0\0"),
    ("L1 entry not aligned", 196_608, b"\200\0\0\0\0\4\0\1"),
    ("unknown incompatible feature", 72, b"\0\0\0\0\0\0\1\0"),
    ("the bit of bitmaps without any", 88, b"\0\0\0\0\0\0\0\1"),
    ("magic gone", 0, b"XXXX"),
    ("refcount table outside", 48, b"\0\0\0\1\0\0\0\0"),
]


def test_a_wrong_entry(tmp_path: Path) -> None:
    def play(folder: Path, ours: bool) -> list[Any]:
        requests = []
        for number, (_, offset, data) in enumerate(POKED):
            poke(create(folder, f"n{number}", data=True), offset, data)
            requests += use(f"n{number}")
        shown = used(folder, requests, ours=ours)
        return shown + [
            (what, img(folder, "qemu-img", "check", f"n{number}.qcow2"))
            for number, (what, *_) in enumerate(POKED)
        ]

    compare(tmp_path, play)


DIRTY: dict[str, list[tuple[int, bytes]]] = {
    "refcounts are lost": [(131_082, bytes(16))],
    "refcounts are too high": [(131_082, b"\0\3\0\3")],
    "a refcount is too low": [(131_084, b"\0\0"), (262_152, b"\0\0\0\0\0\5\0\0")],
    "no refcount table entry": [(65536, bytes(8))],
    "a refcount block outside": [(65544, b"\0\0\0\0\1\0\0\0")],
    "a refcount block twice": [(65544, b"\0\0\0\0\0\2\0\0")],
    "a refcount block that is not aligned": [(65544, b"\0\0\0\0\0\2\2\0")],
    "reserved bits of the refcount table": [(65536, b"\0\0\0\0\0\2\0\1")],
    "reserved bits of an L1 entry": [(196_608, b"\200\0\0\0\0\4\0\1")],
    "reserved bits of an L2 entry": [(262_152, b"\200\0\0\0\0\5\0\2")],
    "a zero cluster that is not aligned": [(262_152, b"\200\0\0\0\0\5\2\1")],
    "a data cluster that is not aligned": [(262_152, b"\200\0\0\0\0\5\2\0")],
    "a compressed cluster with the copied flag": [(262_152, b"\300\0\0\0\0\5\0\0")],
    "an L2 table that is not aligned": [(196_608, b"\200\0\0\0\0\4\2\0")],
    "copied flags": [(196_608, b"\0\0\0\0\0\4\0\0"), (262_152, b"\0\0\0\0\0\5\0\0")],
    "clusters beyond the end": [(262_152, b"\200\0\0\0\0\120\0\0")],
    "two use one cluster": [(262_152, b"\200\0\0\0\0\5\0\0")],
}


def test_repair_of_a_dirty_image(tmp_path: Path) -> None:
    def play(folder: Path, ours: bool) -> list[Any]:
        requests = []
        for number, damages in enumerate(DIRTY.values()):
            path = create(folder, f"n{number}", data=True)
            for offset, data in damages:
                poke(path, offset, data)
            poke(path, 79, b"\1")
            read = hmp(f'qemu-io n{number} "read -P 1 0 256k"')
            requests += [add(f"n{number}"), NODES, read, drop(f"n{number}")]
        shown = used(folder, requests, ours=ours)
        for number, what in enumerate(DIRTY):
            shown.append((what, img(folder, "qemu-img", "check", f"n{number}.qcow2")))
            shown.append((what, (folder / f"n{number}.qcow2").read_bytes()))
        return shown

    compare(tmp_path, play)


def bitmap_places(path: Path) -> tuple[int, int]:
    """Where the bitmaps extension is in the header, and where the directory is."""
    with path.open("rb") as file:
        head = file.read(4096)
    (at,) = struct.unpack_from(">I", head, 100)
    while True:
        kind, length = struct.unpack_from(">II", head, at)
        if kind == BITMAPS:
            return at, struct.unpack_from(">Q", head, at + 24)[0]
        at += 8 + (length + 7) // 8 * 8


Damage = Callable[[int, int], tuple[int, bytes]]
DIRECTORY: dict[str, Damage] = {
    "name": lambda _, entry: (entry + 18, b"\0\0"),
    "huge granularity": lambda _, entry: (entry + 17, b"\x40"),
    "small granularity": lambda _, entry: (entry + 17, b"\x05"),
    "type": lambda _, entry: (entry + 16, b"\x07"),
    "flags": lambda _, entry: (entry + 12, b"\0\0\0\x80"),
    "extra data": lambda _, entry: (entry + 20, b"\0\0\0\x08"),
    "table": lambda _, entry: (entry, struct.pack(">Q", 3)),
    "table size": lambda _, entry: (entry + 8, b"\x7f\xff\xff\xff"),
    "count": lambda at, _: (at + 8, b"\0\0\0\7"),
    "directory size": lambda at, _: (at + 16, struct.pack(">Q", 1 << 40)),
    "directory offset": lambda at, _: (at + 24, struct.pack(">Q", 12345)),
    "directory in the L1 table": lambda at, _: (at + 24, struct.pack(">Q", 196_608)),
    "in use": lambda _, entry: (entry + 12, b"\0\0\0\3"),
    "corrupt": lambda *_: (72, struct.pack(">Q", 2)),
    "another program": lambda *_: (88, bytes(8)),
    "another program, version 2": lambda *_: (4, b"\0\0\0\2"),
}


def test_a_damaged_bitmap_directory(tmp_path: Path) -> None:
    def play(folder: Path, ours: bool) -> list[Any]:
        requests = []
        for number, damage in enumerate(DIRECTORY.values()):
            name = f"n{number}"
            path = create(folder, name)
            img(folder, "qemu-img", "bitmap", "--add", path.name, "b0")
            img(folder, "qemu-img", "bitmap", "--add", "--enable", path.name, "b1")
            poke(path, *damage(*bitmap_places(path)))
            bitmap: dict[str, Any] = {"node": name, "name": "b2", "persistent": True}
            gone = {"node": name, "name": "b0"}
            requests += [
                *(add(name, **{"read-only": True}), NODES, drop(name), add(name), NODES),
                {"execute": "block-dirty-bitmap-add", "arguments": bitmap},
                {"execute": "block-dirty-bitmap-remove", "arguments": gone},
                drop(name),
            ]
        shown = used(folder, requests, ours=ours)
        for number, what in enumerate(DIRECTORY):
            for word in ("check", "info"):
                shown.append((what, img(folder, "qemu-img", word, f"n{number}.qcow2")))
        return shown

    compare(tmp_path, play)
