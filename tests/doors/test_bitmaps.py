"""Dirty bitmaps, through each door."""

from __future__ import annotations

from typing import Any

import pytest

from qmpd.errors import GenericError
from tests.doors.conftest import Disks, Door


def bitmaps(vm: Door, node: str = "d") -> dict[str, dict[str, Any]]:
    """What is told of the node's bitmaps, by name."""
    return {info["name"]: info for info in vm.nodes[node].get("dirty-bitmaps", [])}


def test_writes_are_recorded_in_whole_granules(vm: Door, disks: Disks) -> None:
    disks.add("d")
    vm.cmd("block-dirty-bitmap-add", node="d", name="fine", granularity=4096)
    vm.cmd("block-dirty-bitmap-add", node="d", name="coarse")
    disks.write("d", 65536 - 512, 1024)
    assert bitmaps(vm)["fine"]["count"] == 8192
    assert bitmaps(vm)["coarse"]["count"] == 131072
    assert bitmaps(vm)["coarse"] == {
        "name": "coarse",
        "count": 131072,
        "granularity": 65536,
        "recording": True,
        "busy": False,
        "persistent": False,
    }
    vm.cmd("block-dirty-bitmap-clear", node="d", name="coarse")
    assert bitmaps(vm)["coarse"]["count"] == 0


def test_a_disabled_bitmap_records_nothing(vm: Door, disks: Disks) -> None:
    disks.add("d")
    vm.cmd("block-dirty-bitmap-add", node="d", name="b", disabled=True)
    disks.write("d", 0, 512)
    assert bitmaps(vm)["b"]["count"] == 0
    assert not bitmaps(vm)["b"]["recording"]
    vm.cmd("block-dirty-bitmap-enable", node="d", name="b")
    disks.write("d", 0, 512)
    assert bitmaps(vm)["b"]["count"] == 65536


def test_merge(vm: Door, disks: Disks) -> None:
    disks.add("d")
    for name, offset in (("a", 0), ("b", 1 << 17)):
        vm.cmd("block-dirty-bitmap-add", node="d", name=name)
        disks.write("d", offset, 512)
        vm.cmd("block-dirty-bitmap-disable", node="d", name=name)
    vm.cmd("block-dirty-bitmap-add", node="d", name="sum", disabled=True)
    vm.cmd("block-dirty-bitmap-merge", node="d", target="sum", bitmaps=["a", "b"])
    assert bitmaps(vm)["sum"]["count"] == 131072
    hashes = [
        vm.cmd("x-debug-block-dirty-bitmap-sha256", node="d", name=name)["sha256"]
        for name in ("a", "b", "sum")
    ]
    assert len(set(hashes)) == 3


@pytest.mark.parametrize(
    ("command", "arguments", "text"),
    [
        ("add", {"name": "b"}, "Bitmap already exists: b"),
        ("add", {"name": ""}, "Bitmap name cannot be empty"),
        ("add", {"name": "c", "granularity": 100}, "Granularity must be power of 2 "),
        ("remove", {"name": "c"}, "Dirty bitmap 'c' not found"),
        ("merge", {"target": "b", "bitmaps": ["c"]}, "Dirty bitmap 'c' not found"),
        ("clear", {"name": "b", "node": "x"}, "Node 'x' not found"),
    ],
)
def test_refusals(
    vm: Door, disks: Disks, command: str, arguments: dict[str, Any], text: str
) -> None:
    disks.add("d")
    vm.cmd("block-dirty-bitmap-add", node="d", name="b")
    with pytest.raises(GenericError) as caught:
        vm.cmd(f"block-dirty-bitmap-{command}", {"node": "d", **arguments})
    assert caught.value.desc.startswith(text)
    assert list(bitmaps(vm)) == ["b"]


def test_a_persistent_bitmap_comes_back(vm: Door, disks: Disks) -> None:
    disks.add("d", driver="qcow2")
    vm.cmd("block-dirty-bitmap-add", node="d", name="b", persistent=True)
    disks.write("d", 0, 512)
    file = {"driver": "file", "filename": vm.nodes["d"]["file"]}
    vm.cmd("blockdev-del", node_name="d")
    vm.cmd("blockdev-add", {"driver": "qcow2", "node-name": "d", "file": file})
    assert bitmaps(vm)["b"]["count"] == 65536
    assert bitmaps(vm)["b"]["persistent"]
