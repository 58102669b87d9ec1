"""A file that is gone when it is let go of: the other images lose nothing, in both programs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.block.files import Files
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

DRIVE = ("-drive", "if=none,id=da,node-name=a,file=a,format=qcow2")
FILE = {"driver": "file", "filename": "a", "auto-read-only": True}
QCOW2 = {"driver": "qcow2", "auto-read-only": True, "file": FILE}


def _node(both: Files) -> None:
    both.execute("blockdev-add", **QCOW2, **{"node-name": "a"})


def _exported(both: Files) -> None:
    _node(both)
    both.execute("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    options = {"type": "nbd", "id": "e", "node-name": "a", "writable": True}
    both.execute("block-export-add", **options)


def _mirrored(both: Files) -> None:
    _node(both)
    both.add("null-co", "n", size=1 << 20)
    both.execute("blockdev-mirror", **{"job-id": "j", "device": "n", "target": "a", "sync": "none"})


USERS: dict[str, tuple[tuple[str, ...], Callable[[Files], None]]] = {
    "drive": (DRIVE, lambda both: None),
    "node": ((), _node),
    "export": ((), _exported),
    "mirror": ((), _mirrored),
}
"""What holds the file that goes: options of the command line, and what is asked for."""


@pytest.mark.parametrize("user", USERS)
def test_quit_stores_the_other_images(tmp_path: Path, user: str) -> None:
    for side in ("real", "ours"):
        (tmp_path / side).mkdir()
        for name in ("a", "b"):
            make = ["qemu-img", "create", "-q", "-f", "qcow2", name, "1M"]
            subprocess.run(make, cwd=tmp_path / side, check=True)
    options, use = USERS[user]
    both = Files(tmp_path, *options, "-drive", "if=none,id=db,node-name=b,file=b,format=qcow2")
    use(both)
    both.execute("block-dirty-bitmap-add", node="b", name="bm", persistent=True)
    both.io("b", "write -P 7 0 64k")
    both.io("a", "write -P 8 0 64k")
    for side in ("real", "ours"):
        (tmp_path / side / "a").unlink()
    for program in (both.real, both.ours):
        program.send(b'{"execute": "quit"}\n')
        assert program.process.wait(20) == 0
        assert program.stderr() == ""
    assert _image(tmp_path / "ours") == _image(tmp_path / "real")
    both.close()


def _image(folder: Path) -> tuple[Any, str]:
    """What qemu-img and qemu-io find in image b."""
    info = ["qemu-img", "info", "--output=json", "b"]
    found = json.loads(subprocess.check_output(info, cwd=folder))
    (bitmap,) = found["format-specific"]["data"]["bitmaps"]
    read = ["qemu-io", "-f", "qcow2", "-r", "-c", "read -P 7 0 64k", "b"]
    result = subprocess.run(read, cwd=folder, capture_output=True, text=True, check=True)
    return bitmap, result.stdout.splitlines()[0]
