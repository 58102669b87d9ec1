"""blockdev-reopen that changes what an image is read from: the tables of the old file are gone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.block.files import Files, both_programs

NAMES = ("one", "two")


@pytest.fixture
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    """Two images of one layout whose first clusters, written in another order, lie elsewhere."""
    with both_programs(tmp_path_factory.mktemp("reopen")) as both:
        for side in ("real", "ours"):
            for name, areas in zip(NAMES, (("0 1M", "2M 1M"), ("2M 1M", "0 1M")), strict=True):
                folder = both.scratch / side
                make = ["qemu-img", "create", "-q", "-f", "qcow2", name, "4M"]
                subprocess.run(make, cwd=folder, check=True)
                for area in areas:
                    write = f"write -P {len(name + area)} {area}"
                    subprocess.run(
                        ["qemu-io", "-f", "qcow2", "-c", write, name],
                        cwd=folder,
                        check=True,
                        stdout=subprocess.DEVNULL,
                    )
        for name in NAMES:
            both.add("file", f"{name}-file", filename=name)
            both.add("qcow2", name, file=f"{name}-file")
        yield both


def _image(name: str, file: str) -> dict[str, Any]:
    return {"driver": "qcow2", "node-name": name, "file": f"{file}-file"}


def test_swapped_files_are_read_by_their_own_tables(both: Files) -> None:
    for name in NAMES:
        both.io(name, "write -P 1 0 1k")
        both.io(name, "read 2M 64k")
    both.execute("blockdev-reopen", options=[_image("one", "two"), _image("two", "one")])
    for name in NAMES:
        for pattern in (1, 7, 8):
            both.io(name, f"read -P {pattern} 0 1k")
            both.io(name, f"read -P {pattern} 1k 1k")
            both.io(name, f"read -P {pattern} 2M 64k")
        both.io(name, "write -P 9 2M 64k")
        both.io(name, "flush")
    both.execute("quit")
    for program in (both.real, both.ours):
        program.process.wait(20)
    for name in NAMES:
        real, ours = (_content(both, side, name) for side in ("real", "ours"))
        assert ours == real


def _content(both: Files, side: str, name: str) -> bytes:
    convert = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", name, f"{name}.raw"]
    folder = both.scratch / side
    subprocess.run(convert, cwd=folder, check=True)
    return (folder / f"{name}.raw").read_bytes()
