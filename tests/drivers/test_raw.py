"""raw with a window on its file."""

from __future__ import annotations

from typing import Any

import pytest

from tests.drivers.pair import Drivers

MIB = 1 << 20

WINDOWS: list[dict[str, Any]] = [
    {"offset": 512},
    {"offset": 700},
    {"offset": MIB},
    {"size": 512},
    {"size": 0},
    {"offset": 4096, "size": 64 << 10},
    {"offset": 1000, "size": 512},
]

BAD: list[dict[str, Any]] = [
    {"offset": MIB + 1},
    {"offset": -1},
    {"size": -1},
    {"offset": -1, "size": -1},
    {"size": 1},
    {"size": MIB + 512},
    {"offset": 512, "size": MIB},
    {"offset": 1, "size": MIB - 1},
    {"offset": 2**63 - 1},
    {"size": 2**63 - 1},
    {"offset": 2**63},
    {"offset": "x"},
    {"cache": {}},
    {"bogus": 1},
]


@pytest.fixture
def file(pair: Drivers) -> Drivers:
    pair.make("a.raw", MIB, bytes(range(1, 256)) * 4000)
    pair.add("file", "f", filename="a.raw", discard="unmap")
    return pair


@pytest.mark.parametrize("window", WINDOWS)
def test_data(file: Drivers, window: dict[str, Any]) -> None:
    file.add("raw", "r", file="f", discard="unmap", **window)
    file.look()
    file.edges()
    file.execute("block-dirty-bitmap-add", node="r", name="b", granularity=512)
    file.execute("block-dirty-bitmap-add", node="f", name="b", granularity=512)
    file.io("r", "read -v 0 16", "read 60k 8k", "read 1040000 4096", "map", "length", "alloc 0 64k")
    file.io("r", "write -P 7 0 512", "write -P 8 60k 8k", "write -z 8k 100", "discard 16k 32k")
    file.io("r", "write -z -u 100k 64k", "write -P 9 1048000 4k", "write -c 0 64k", "info", "flush")
    file.look()
    file.same_bytes("a.raw")
    file.same_space("a.raw")


@pytest.mark.parametrize("options", BAD)
def test_what_is_no_window(file: Drivers, options: dict[str, Any]) -> None:
    file.add("raw", "r", file="f", **options)
    file.add("raw", "r", file="none", **options)


@pytest.mark.parametrize("window", WINDOWS)
def test_resizing(file: Drivers, window: dict[str, Any]) -> None:
    file.add("raw", "r", file="f", **window)
    for size in (0, 1000, 2 * MIB, 2**63 - (1 << 30), 2**63 - 1):
        file.execute("block_resize", size=size, **{"node-name": "r"})
        file.execute("query-named-block-nodes")
    file.io("r", "truncate 64k", "truncate -m full 128k", "map")
    file.execute("block_resize", size=MIB, **{"node-name": "f"})
    file.look()
    file.same_bytes("a.raw")


def test_reopening(file: Drivers) -> None:
    node = {"driver": "raw", "node-name": "r", "file": "f"}
    file.add("raw", "r", file="f", offset=512, size=512)
    for change in [*WINDOWS, *BAD, {}, {"read-only": True}, {"file": None}, {"file": "none"}]:
        file.reopen({**node, **change})
        file.execute("query-named-block-nodes")
        file.io("r", "length", "read -v 0 16")
    file.reopen({"driver": "raw", "node-name": "r"})


def test_windows_side_by_side(file: Drivers) -> None:
    for number in range(4):
        file.add("raw", f"r{number}", file="f", offset=number << 18, size=1 << 18)
        file.io(f"r{number}", f"write -P {number} 0 256k")
        file.edges()
    file.add("raw", "top", file="r1", offset=512)
    file.io("top", "read -P 1 0 1k", "write -P 99 0 512", "map")
    file.look()
    file.same_bytes("a.raw")
