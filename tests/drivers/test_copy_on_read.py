"""copy-on-read: what is kept of what is read from below, and down to where."""

from __future__ import annotations

from typing import Any

import pytest

from tests.drivers.pair import Drivers

TOP = {"driver": "qcow2", "node-name": "top", "file": "file"}


def _fill(pair: Drivers, *areas: tuple[int, int, int]) -> None:
    """Write areas (byte, offset, length) to node `top`, in KiB."""
    for byte, offset, length in areas:
        pair.io("top", f"write -q -P {byte} {offset}k {length}k")


@pytest.fixture
def chain(pair: Drivers) -> Drivers:
    """Nodes base <- mid <- top, each with data of its own."""
    below: str | None = None
    for name, size, areas in (
        ("base", 1, ((1, 0, 512), (9, 700, 64))),
        ("mid", 1, ((2, 128, 128),)),
        ("top", 2, ((3, 192, 8),)),
    ):
        backing = () if below is None else ("-b", f"{below}.qcow2", "-F", "qcow2")
        pair.image("create", "-q", "-f", "qcow2", *backing, f"{name}.qcow2", f"{size}M")
        file = {"driver": "file", "filename": f"{name}.qcow2", "node-name": "file"}
        pair.add("qcow2", "top", file=file, backing=below)
        _fill(pair, *areas)
        if name != "top":
            pair.delete("top")
            del file["node-name"]
            pair.add("qcow2", name, file=file, backing=below, read_only=True)
        below = name
    return pair


@pytest.mark.parametrize("bottom", [None, "base", "mid"])
def test_reading(chain: Drivers, bottom: str | None) -> None:
    options = {} if bottom is None else {"bottom": bottom}
    chain.add("copy-on-read", "c", file="top", **options)
    chain.look()
    chain.edges()
    chain.io("c", "map", "read -v 0 32", "map", "read 100k 200k", "map", "read 690k 2k")
    chain.io("c", "read 700k 1k", "read 1500k 64k", "map", "write 300k 4k", "write -z 0 64k")
    chain.io("c", "discard 0 64k", "write -c 384k 64k", "flush", "map", "alloc 0 1M", "info")
    chain.io("c", "truncate 3M", "truncate 1M")
    chain.execute("block-dirty-bitmap-add", node="top", name="b")
    chain.io("c", "read 512k 64k")
    chain.io("top", "map")
    chain.look()
    chain.delete("c")
    chain.delete("top")
    chain.image("check", "-q", "top.qcow2")
    chain.image("map", "--output=json", "top.qcow2")


def test_reading_keeps_the_same_bytes(chain: Drivers) -> None:
    for size in (512, 3000, 65536, 100_000):
        chain.add("copy-on-read", "c", file="top")
        chain.io("c", *(f"read -q {at} {size}" for at in range(0, 1 << 20, 131_072)))
        chain.io("c", "map", "write -q -z 0 2M", "discard -q 0 2M")
        chain.delete("c")
    chain.delete("top")
    chain.same_bytes("top.qcow2")


@pytest.mark.parametrize("bottom", ["none", "c", "", 5, "filter"])
def test_bottoms_that_are_none(chain: Drivers, bottom: Any) -> None:
    chain.add("copy-on-read", "filter", file="base", read_only=True)
    chain.add("copy-on-read", "c", file="top", bottom=bottom)
    chain.add("copy-on-read", "c", file="none", bottom=bottom)


def test_the_chain_stays(chain: Drivers) -> None:
    chain.add("copy-on-read", "c", file="top", bottom="base")
    for change in ({"backing": None}, {"backing": "base"}, {"backing": "mid"}):
        chain.reopen({**TOP, **change})
    chain.delete("mid")
    chain.delete("c")
    chain.reopen({**TOP, "backing": "base"})
    chain.edges()
    chain.reopen({**TOP, "backing": "mid"})


def test_what_cannot_be_written(chain: Drivers) -> None:
    chain.add("copy-on-read", "c")
    chain.add("copy-on-read", "c", file="base")
    chain.add("copy-on-read", "c", file="base", read_only=True)
    chain.io("c", "read 0 64k", "map")
    chain.add("copy-on-read", "d", file="mid", read_only=True, bottom="base")
    chain.io("d", "read 0 64k")
    chain.add("copy-on-read", "e", file="top", read_only=True)
    chain.look()
    chain.edges()
    chain.io("e", "read 0 64k", "write 0 512")
    chain.io("top", "map", "write 0 512")
    chain.delete("e")
    chain.reopen({**TOP, "backing": "mid", "read-only": True})
    for options in ({}, {"auto-read-only": True}, {"auto-read-only": True, "read-only": True}):
        chain.add("copy-on-read", "e", file="top", **options)
    for read_only in (False, True):
        chain.reopen({**TOP, "backing": "mid", "read-only": read_only})
    chain.look()


def test_without_a_chain(pair: Drivers) -> None:
    pair.add("copy-on-read", "c", file={"driver": "null-co", "size": 65536})
    pair.io("c", "read 0 64k", "map", "write 0 512")
    pair.look()


def test_options(chain: Drivers) -> None:
    chain.add("copy-on-read", "c", file="top", discard="unmap", detect_zeroes="unmap")
    chain.io("c", "write -P 0 0 64k", "map", "discard 128k 64k", "map")
    for change in ({}, {"read-only": True}, {"bottom": "base"}):
        chain.reopen({"driver": "copy-on-read", "node-name": "c", "file": "top", **change})
    chain.add("copy-on-read", "d", file="c")
    chain.io("d", "read 512k 64k", "map")
    chain.execute("block_resize", size=4 << 20, **{"node-name": "d"})
    chain.look()
    chain.edges()


def test_failures(chain: Drivers) -> None:
    """Reading fails when what was read cannot be kept; a rule of blkdebug says so."""
    rule = {"event": "cor_write", "errno": 28, "once": True}
    later = {"event": "cor_write", "errno": 5, "iotype": "write"}
    for rules in ([rule], [later], [{**later, "sector": 8}]):
        chain.add("blkdebug", "d", image="top", **{"inject-error": rules})
        chain.add("copy-on-read", "c", file="d")
        chain.io("c", "read 0 64k", "read 0 64k", "read 600k 64k", "read 100k 100k", "map")
        chain.delete("c")
        chain.delete("d")
