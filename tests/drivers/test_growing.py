"""preallocate and compress: filters that change how a file grows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.drivers.pair import Drivers

MIB = 1 << 20


def _node(pair: Drivers, **options: Any) -> None:
    pair.add("file", "f", filename="a.raw", discard="unmap")
    pair.add("preallocate", "p", **{"file": "f", **options})


@pytest.mark.parametrize(
    "options",
    [
        *({"prealloc-align": n} for n in (0, 1, 512, 1000, 4096, -512, -1, 2**62, 2**63 - 1, "x")),
        *({"prealloc-size": n} for n in (0, 1, 512, -1, 2**40, "x")),
        {"prealloc-align": 1, "file": "none"},
        {"file": "none"},
        {"read_only": True},
        {"active": False},
        {"cache": {}},
        {"bogus": 1},
    ],
)
def test_options(pair: Drivers, options: dict[str, Any]) -> None:
    _node(pair, **options)
    pair.look()
    pair.edges()


@pytest.mark.parametrize("align", [512, 65536])
@pytest.mark.parametrize("size", [0, 100_000, MIB])
def test_writing_at_the_end(pair: Drivers, align: int, size: int) -> None:
    _node(pair, **{"prealloc-align": align, "prealloc-size": size})
    pair.add("raw", "r", file="p")
    pair.execute("block-dirty-bitmap-add", node="f", name="b", granularity=512)
    for command in (
        *("write 0 64k", "truncate 1030k", "truncate 1M", "write -z 512k 64k", "length"),
        *("truncate 3M", "write 2M 4k", "truncate 2M", "flush", "map", "discard 0 64k"),
    ):
        pair.io("r", command)
        pair.same_space("a.raw")
        pair.execute("query-named-block-nodes")
    pair.look()
    pair.delete("r")
    pair.delete("p")
    pair.same_space("a.raw")


@pytest.mark.parametrize("size", [64 << 10, 4 * MIB])
def test_under_a_format(pair: Drivers, size: int) -> None:
    pair.image("create", "-q", "-f", "qcow2", "z.qcow2", "8M")
    below = {"driver": "file", "filename": "z.qcow2", "node-name": "f"}
    options = {"prealloc-size": size, "prealloc-align": 65536}
    file = {"driver": "preallocate", "node-name": "p", "file": below, **options}
    pair.add("qcow2", "q", file=file)
    pair.edges()
    for command in ("write 0 64k", "write 1M 1M", "flush", "write -z 3M 64k", "read 0 8M"):
        pair.io("q", command)
        pair.same_space("z.qcow2")
        pair.execute("query-named-block-nodes")
    for change in ({"prealloc-size": MIB}, {"prealloc-align": 1}, {"prealloc-align": 4096}, {}):
        pair.reopen({"driver": "preallocate", "node-name": "p", "file": "f", **change})
    pair.io("q", "write 4M 64k")
    pair.same_space("z.qcow2")
    pair.reopen({"driver": "qcow2", "node-name": "q", "file": "p", "read-only": True})
    pair.execute("query-named-block-nodes")
    pair.same_space("z.qcow2")
    pair.delete("q")
    pair.image("check", "-q", "z.qcow2")
    pair.same_bytes("z.qcow2")


def test_compressing(pair: Drivers) -> None:
    pair.image("create", "-q", "-f", "qcow2", "z.qcow2", "1M")
    pair.add("qcow2", "q", file={"driver": "file", "filename": "z.qcow2"}, discard="unmap")
    pair.add("compress", "c", file="q", discard="unmap")
    pair.look()
    pair.edges()
    pair.execute("block-dirty-bitmap-add", node="c", name="b", granularity=512)
    pair.execute("block-dirty-bitmap-add", node="q", name="b", granularity=512)
    pair.io("c", "write -P 5 0 64k", "write -P 6 100k 100", "read -v 102400 16", "read -P 5 0 64k")
    pair.io("c", "write -z 64k 64k", "write -z 200k 4k", "discard 0 64k", "map", "alloc 0 1M")
    pair.io("c", "write -f 256k 64k", "write -c 320k 64k", "flush", "info", "write 900k 124k")
    pair.io("c", "truncate 2M", "truncate 1000k", "write -P 3 960k 40k", "write 0 1000k")
    pair.look()
    pair.delete("c")
    pair.io("q", "read -v 102400 16", "map")
    pair.delete("q")
    pair.image("check", "z.qcow2")
    pair.image("map", "--output=json", "z.qcow2")


def test_what_cannot_be_compressed(pair: Drivers) -> None:
    pair.add("file", "f", filename="a.raw")
    for options in (
        {"file": "f"},
        {"file": {"driver": "null-co"}},
        {"file": {"driver": "raw", "file": "f"}},
        {"file": "none"},
        {},
        {"file": "f", "bogus": 1},
        {"file": "f", "read-only": True},
        {"file": "f", "cache": {}},
    ):
        pair.add("compress", "c", **options)


@pytest.mark.parametrize(
    "between", [{"driver": "copy-on-read"}, {"driver": "throttle", "throttle-group": "g"}], ids=str
)
def test_what_only_a_filter_can_compress(pair: Drivers, between: dict[str, Any]) -> None:
    """It is asked whether it can, and nobody below it until there is a write."""
    pair.execute("object-add", **{"qom-type": "throttle-group", "id": "g"})
    file = {"driver": "file", "filename": "a.raw"}
    pair.add("compress", "c", file={**between, "file": file})
    pair.io("c", "write -P 5 64k 64k")
    pair.io("c", "read -P 0 64k 64k")
    pair.delete("c")
    pair.execute("object-del", id="g")


def test_compress_reopened(pair: Drivers) -> None:
    pair.image("create", "-q", "-f", "qcow2", "z.qcow2", "1M")
    pair.add("qcow2", "q", file={"driver": "file", "filename": "z.qcow2"})
    pair.add("compress", "c", file="q")
    for change in ({}, {"read-only": True}):
        pair.reopen({"driver": "compress", "node-name": "c", "file": "q", **change})
    pair.add("compress", "d", file="c")
    pair.io("d", "write 0 64k", "write -c 64k 64k")
    pair.look()
