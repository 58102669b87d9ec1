"""Images on the host, worked at by qmpd's block layer and by Debian's qemu-img."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from qmpd.block.change.blockdev import blockdev_add, blockdev_del
from qmpd.block.change.closing import close_all
from qmpd.block.images import HostStorage
from qmpd.block.model.driver_table import find_creator
from qmpd.block.model.node import Node
from tests.support.machines import TestMachine

needs_qemu_img = pytest.mark.skipif(
    shutil.which("qemu-img") is None, reason="qemu-img is not installed"
)
SECTOR = 512


def qemu_img(*arguments: object) -> str:
    """Run qemu-img; fails unless it succeeds. Returns what it prints."""
    done = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


def qemu_io(path: Path, *commands: str) -> str:
    """Run qemu-io's commands on an image."""
    words = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(["qemu-io", *words, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, (commands, done.stdout, done.stderr)
    return done.stdout


class ImageBench(TestMachine):
    """A machine over the host's files; `close` gives everything back."""

    def __init__(self) -> None:
        super().__init__(HostStorage())

    def create(self, path: Path, size: int, options: Mapping[str, Any]) -> None:
        """Make a qcow2 image; `data-file` in the options names one."""
        given = dict(options)
        file = {"driver": "file", "filename": str(path)}
        self.run(find_creator("file").create(self.graph, {**file, "size": 0}))
        if "data-file" in given:
            data = {"driver": "file", "filename": str(given["data-file"])}
            self.run(find_creator("file").create(self.graph, {**data, "size": 0}))
            given["data-file"] = data
        image = {"driver": "qcow2", "file": file, "size": size, **given}
        self.run(find_creator("qcow2").create(self.graph, image))

    def open(self, path: Path, **options: Any) -> Node:
        """Open a qcow2 image as node ``disk``."""
        node: Node = self.run(
            blockdev_add(
                self.graph,
                {
                    "driver": "qcow2",
                    "node-name": "disk",
                    "discard": "unmap",
                    "file": {"driver": "file", "filename": str(path), "discard": "unmap"},
                    **options,
                },
            )
        )
        return node

    def shut(self) -> None:
        """Close node ``disk``."""
        self.run(blockdev_del(self.graph, "disk"))

    def close(self) -> None:
        self.run(close_all(self.graph))


Areas = dict[int, tuple[int, bool, bool]]
"""By sector: depth of the image that holds it, whether it reads as zeroes, whether data."""


def qmpd_map(bench: ImageBench, node: Node) -> Areas:
    """What qmpd says of every sector, as qemu-img map does."""
    areas: Areas = {}
    offset = 0
    while offset < node.length:
        depth, current, length = 0, node, node.length - offset
        while True:
            status = bench.run(current.block_status(offset, length))
            length = min(length, status.length) if status.length else length
            below = current.filter_or_backing
            if status.allocated or below is None or not status.length:
                break
            depth, current = depth + 1, below
        zero, data = status.zero, status.data
        if not status.allocated:
            depth, zero, data = 0, True, False
        for sector in range(offset // SECTOR, -(-(offset + length) // SECTOR)):
            areas[sector] = (depth, zero, data)
        offset += length
    return areas


def qemu_map(path: Path) -> Areas:
    """What qemu-img map says of every sector."""
    areas: Areas = {}
    for entry in json.loads(qemu_img("map", "--output=json", path)):
        present = entry["present"]
        first, end = entry["start"] // SECTOR, -(-(entry["start"] + entry["length"]) // SECTOR)
        for sector in range(first, end):
            depth = entry["depth"] if present else 0
            areas[sector] = (depth, entry["zero"], entry["data"])
    return areas
