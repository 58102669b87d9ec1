"""Backends made by -drive, and chains of images, on qmpd and on the real QEMU side by side."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.block.files import Files
from tests.support.programs import qemu_missing

DRIVES = [
    "if=none,id=d0,file=a.raw,format=raw",
    "if=none,id=q0,file=o.qcow2,format=qcow2",
    "if=none,id=em",
    "if=none,file=b.raw,format=raw,node-name=nn,read-only=on,cache=none,detect-zeroes=on",
    "if=none,id=un,driver=null-co,node-name=nu",
]


def make_files(folder: Path) -> None:
    folder.mkdir()
    for name in ("a.raw", "b.raw"):
        (folder / name).write_bytes(bytes(1 << 20))
    for command in (
        "create -q -f qcow2 base.qcow2 1M",
        "create -q -f qcow2 -b base.qcow2 -F qcow2 o.qcow2",
        "create -q -f qcow2 plain.qcow2 1M",
    ):
        subprocess.run(["qemu-img", *command.split()], cwd=folder, check=True)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Files]:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    for side in ("real", "ours"):
        make_files(tmp_path / side)
    pair = Files(tmp_path, *(word for drive in DRIVES for word in ("-drive", drive)))
    yield pair
    pair.close()


def test_drives(pair: Files) -> None:
    pair.look()
    for name in ("d0", "q0", "nn", "un", "nu", "none1"):
        pair.add("null-co", name)
    for name in ("em", "d0", "none1", "nope"):
        pair.add("raw", f"over-{name}", file=name)
    for name in ("d0", "nn", "nu"):
        pair.delete(name)
    for device in ("em", "d0", "nope"):
        pair.execute("block_resize", device=device, size=4096)
        pair.execute("block_resize", device=device, size=4096, **{"node-name": "nn"})
    for name in ("em", "d0", "q0", "none1"):
        for command in (
            "aio_write 0 512",
            "aio_read 0 512",
            "aio_read -i 0 512",
            "aio_write -i 0 512",
            "aio_write 1G 512",
            "write 0 512",
            "length",
            "flush",
            "discard 0 512",
        ):
            pair.io(name, command)
    pair.look()


def test_chains(pair: Files) -> None:
    plain = {"driver": "qcow2", "file": {"driver": "file", "filename": "plain.qcow2"}}
    base = {**plain, "file": {"driver": "file", "filename": "base.qcow2"}}
    over = {"driver": "file", "filename": "o.qcow2", "locking": "off"}
    for number, backing in enumerate(
        (
            None,
            plain,
            base,
            {**base, "node-name": "mine"},
            "d0",
            "nn",
            {"driver": "raw", "file": "nn"},
            {"driver": "null-co"},
            {"driver": "null-co", "read-zeroes": True, "read-only": False},
        )
    ):
        pair.add("qcow2", f"n{number}", read_only=True, file=over, backing=backing)
    pair.add("qcow2", "implicit", read_only=True, file=over)
    pair.add("raw", "r", file="n1")
    pair.add("raw", "s", file="n1", offset=512, read_only=True)
    pair.look()
    pair.delete("mine")
    pair.delete("n3")
    pair.delete("mine")
    pair.look()


def test_backing_nodes_are_blocked(pair: Files) -> None:
    pair.add("null-co", "below", size=1 << 20, read_only=True)
    pair.add("qcow2", "one", file={"driver": "file", "filename": "plain.qcow2"}, backing="below")
    pair.add(
        "qcow2",
        "two",
        read_only=True,
        file={"driver": "file", "filename": "o.qcow2", "locking": "off"},
        backing="below",
    )
    pair.delete("below")
    pair.execute("block_resize", size=512, **{"node-name": "below"})
    pair.delete("two")
    pair.delete("below")
    pair.delete("one")
    pair.delete("below")
    pair.look()


def test_two_users_of_one_file(pair: Files) -> None:
    pair.add("file", "f", filename="plain.qcow2")
    pair.add("raw", "r", file="f")
    pair.add("raw", "w", file="f", offset=512)
    pair.add("qcow2", "q", file="f")
    pair.delete("w")
    pair.add("qcow2", "q", file="f")
    pair.add("qcow2", "p", file="f")
    pair.add("qcow2", "p", file="f", read_only=True)
    pair.add("qcow2", "p", file="r")
    pair.add("raw", "w", file="f", size=512)
    for node in ("f", "r", "w"):
        for command in ("write 0 512", "truncate 2M", "discard 0 512", "read 0 512"):
            pair.io(node, command)
    pair.execute("block_resize", size=512, **{"node-name": "f"})
    pair.execute("block_resize", size=512, **{"node-name": "q"})
    pair.look()
    pair.delete("q")
    pair.io("r", "write 0 512")
    pair.look()


def test_names_too_long_to_show(pair: Files) -> None:
    node: Any = {"driver": "null-co", "size": 1 << 20, "node-name": "bottom"}
    for _ in range(100):
        node = {"driver": "raw", "offset": 512, "file": node}
    pair.execute("blockdev-add", **{**node, "node-name": "top"})
    pair.look()
