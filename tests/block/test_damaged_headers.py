"""Images of every format that QEMU has, with damaged headers: what a file is taken for.

qmpd opens raw and qcow2 only.  What it takes for another format, it does not know how to open; QEMU
then says what it says where that format is asked for by name.  ``QMPD_DAMAGED_HEADERS`` says how
many there are of each format.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.block.files import Files
from tests.block.test_probed import HEADS
from tests.support.normal import normal
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

EACH: Final = int(os.environ.get("QMPD_DAMAGED_HEADERS", "12"))
HEADER: Final = 600
"""Bytes that are damaged."""

CREATED: Final = ("parallels", "qcow", "qcow2", "qed", "vdi", "vhdx", "vmdk", "vpc", "luks")
SIDES: Final = ("real", "ours")


def make(folder: Path, image_format: str) -> bytes:
    """An image of a format."""
    by_head = {found: head for head, found in HEADS.items()}
    if image_format in ("bochs", "cloop"):
        return by_head[image_format].ljust(1 << 16, b"\0")
    if image_format == "dmg":
        return b"koly".rjust(1 << 16, b"\0")
    command = ["qemu-img", "create", "-q", "-f", image_format]
    if image_format == "luks":
        command += ["--object", "secret,id=s,data=word", "-o", "key-secret=s,iter-time=10"]
    path = folder / "whole"
    subprocess.run([*command, str(path), "1M"], check=True)
    data = path.read_bytes()
    path.unlink()
    return data[: 1 << 20]


def damage(chance: random.Random, data: bytes) -> bytes:
    """Some bytes of the header changed, and perhaps the end cut off."""
    changed = bytearray(data)
    for _ in range(chance.choice([0, 1, 1, 2, 5])):
        at = chance.choice([chance.randrange(80), chance.randrange(HEADER)]) % len(changed)
        old = changed[at]
        changed[at] = chance.choice([old ^ 1 << chance.randrange(8), chance.randrange(256)])
    if chance.random() < 0.1:
        del changed[chance.randrange(HEADER) :]
    return bytes(changed)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Files]:
    for side in SIDES:
        (tmp_path / side).mkdir()
    both = Files(tmp_path)
    yield both
    both.close()


def tell(both: Files, side: str, line: str) -> Any:
    """What a program says to a line of the human monitor."""
    request = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
    program = both.real if side == "real" else both.ours
    return normal(program.execute(request), str(both.scratch / side))


def opened(both: Files, side: str, drive: str) -> list[Any]:
    """What there is to see of a drive that is added and deleted again.

    It is read-only, as QEMU would repair some.
    """
    lines = (f"drive_add 0 if=none,id=d,read-only=on,{drive}", "info block -v d", "drive_del d")
    return [tell(both, side, line) for line in lines]


@pytest.mark.parametrize("image_format", [*CREATED, "bochs", "cloop", "dmg"])
def test_what_a_file_is_taken_for(both: Files, tmp_path: Path, image_format: str) -> None:
    chance = random.Random(image_format)
    whole = make(tmp_path, image_format)
    others = 0
    for number in range(EACH):
        name = f"{number}{chance.choice(['', '', '.dmg', '.DMG', '.dmg.raw'])}"
        for side in SIDES:
            data = damage(random.Random(f"{image_format}{number}"), whole)
            (tmp_path / side / name).write_bytes(data)
        real, ours = (opened(both, side, f"file={name}") for side in SIDES)
        unknown = re.search(r"Unknown driver '(\w+)'", str(ours[0]))
        if unknown is None:
            assert (name, data[:HEADER], ours) == (name, data[:HEADER], real)
            continue
        others += 1
        by_name = opened(both, "real", f"file={name},format={unknown[1]}")
        assert (name, data[:HEADER], real) == (name, data[:HEADER], by_name)
    assert others or image_format == "qcow2"
