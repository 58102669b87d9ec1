"""copy-before-write and snapshot-access: the disk as it was, and what becomes of it on errors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.drivers.pair import Drivers

PATTERN = bytes(range(256)) * 4096


@pytest.fixture
def nodes(pair: Drivers) -> Drivers:
    """File node f full of data, file node t as long."""
    pair.make("a.raw", 1 << 20, PATTERN)
    pair.add("file", "f", filename="a.raw", discard="unmap")
    pair.add("file", "t", filename="b.raw", discard="unmap")
    return pair


def _try(pair: Drivers, **options: Any) -> None:
    pair.add("copy-before-write", "c", **{"file": "f", "target": "t", **options})
    pair.execute("query-named-block-nodes")
    pair.delete("c")


def test_children(nodes: Drivers) -> None:
    nodes.make("small.raw", 1 << 19)
    nodes.make("large.raw", 2 << 20)
    for name in ("small", "large"):
        nodes.add("file", name, filename=f"{name}.raw")
    nodes.add("file", "ro", filename="c.raw", read_only=True)
    nodes.add("null-co", "n", size=1 << 20)
    inline = {"driver": "file", "filename": "c.raw"}
    for target in ("small", "large", "ro", "n", "none", "f", "c", None):
        _try(nodes, target=target)
    nodes.delete("ro")
    for given in (inline, {**inline, "node-name": "c"}, {**inline, "read-only": True}):
        _try(nodes, target=given)
    for file in ("none", "t", "c", inline):
        _try(nodes, file=file)
    nodes.add("copy-before-write", "c", file="f")
    nodes.add("copy-before-write", "c", target="t")
    nodes.add("copy-before-write", "c", file="none", target="none")


@pytest.mark.parametrize("cluster", ["512", "64k", "256k"])
def test_cluster_sizes(nodes: Drivers, cluster: str) -> None:
    nodes.image("create", "-q", "-f", "qcow2", "-o", f"cluster_size={cluster}", "q.qcow2", "1M")
    nodes.add("qcow2", "q", file={"driver": "file", "filename": "q.qcow2"})
    for minimum in (None, 0, 512, 65536, 131_072, 1 << 20):
        options = {} if minimum is None else {"min-cluster-size": minimum}
        nodes.add("copy-before-write", "c", file="f", target="q", **options)
        nodes.io("c", "write 200k 4k")
        nodes.execute("query-named-block-nodes")
        nodes.io("q", "map")
        nodes.delete("c")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("on-cbw-error", ("break-guest-write", "break-snapshot", "x", None)),
        ("cbw-timeout", (0, 1, -1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, "x")),
        ("min-cluster-size", (1, 3, 1000, -1, -512, 2**21, 100_000, 2**64 - 1, 2**64, "x")),
        ("bitmap", ({}, {"node": "f"}, {"node": "none", "name": "b"}, "b")),
        ("bitmap", ({"node": "f", "name": "none"}, {"node": "f", "name": ""})),
        ("discard-source", (True, False)),
        ("read-only", (True,)),
        ("active", (False,)),
        ("cache", ({},)),
        ("bogus", (1,)),
    ],
)
def test_options(nodes: Drivers, name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        _try(nodes, **{name: value})


def test_bitmaps(nodes: Drivers) -> None:
    nodes.make("large.raw", 2 << 20)
    nodes.add("file", "large", filename="large.raw")
    for node, name, more in (
        ("f", "b", {"granularity": 65536}),
        ("f", "fine", {"granularity": 512}),
        ("f", "coarse", {"granularity": 262_144}),
        ("f", "disabled", {"disabled": True}),
        ("large", "b", {}),
        ("t", "b", {}),
    ):
        nodes.execute("block-dirty-bitmap-add", node=node, name=name, **more)
    nodes.io("f", "write -P 7 128k 100k")
    for node, name in (
        *(("f", name) for name in ("b", "fine", "coarse", "disabled")),
        *(("large", "b"), ("t", "b")),
    ):
        bitmap = {"node": node, "name": name}
        _try(nodes, bitmap=bitmap)
        _try(nodes, bitmap=bitmap, **{"min-cluster-size": 262_144})
        _try(nodes, bitmap=bitmap, **{"min-cluster-size": 3})
    nodes.add("copy-before-write", "c", file="f", target="t", bitmap={"node": "f", "name": "b"})
    nodes.execute("block-dirty-bitmap-remove", node="f", name="b")
    nodes.io("c", "write 0 64k", "write 192k 4k")
    nodes.execute("query-named-block-nodes")
    nodes.add("snapshot-access", "s", file="c")
    nodes.io("s", "read 0 512", "read -P 7 128k 64k", "read 100k 64k", "map", "alloc 0 64k")
    nodes.io("s", "read -P 7 196608 512")
    nodes.same_bytes("b.raw")


def test_guests(nodes: Drivers) -> None:
    nodes.add("copy-before-write", "c", file="f", target="t", discard="unmap")
    nodes.io("c", "write -P 1 0 4k", "read 0 8k", "write -z 100k 4k", "discard 200k 64k", "map")
    nodes.io("c", "flush", "info", "write -c 0 64k", "write -z -u 300k 4k", "alloc 0 1M")
    nodes.io("c", "truncate 2M", "write 1000k 24k")
    nodes.look()
    nodes.delete("c")
    nodes.same_bytes("a.raw", "b.raw")


def test_permissions(nodes: Drivers) -> None:
    nodes.add("copy-before-write", "c", file="f", target="t")
    nodes.edges()
    nodes.add("raw", "r", file="c")
    nodes.look()
    nodes.edges()
    nodes.add("raw", "r2", file="f")
    nodes.io("f", "write 0 512", "read 0 512")
    nodes.io("t", "write 0 512", "read 0 512")
    for name in ("c", "f", "t"):
        nodes.execute("block_resize", size=2 << 20, **{"node-name": name})
    nodes.add("file", "u", filename="c.raw")
    nodes.add("copy-before-write", "d", file="c", target="u")
    nodes.edges()
    nodes.io("d", "write 500k 64k")
    nodes.same_bytes("b.raw", "c.raw")


@pytest.mark.parametrize("discard", ["ignore", "unmap"])
def test_snapshots(nodes: Drivers, discard: str) -> None:
    nodes.add("copy-before-write", "c", file="f", target="t", discard="unmap")
    nodes.add("snapshot-access", "s", file="c", discard=discard)
    nodes.look()
    nodes.edges()
    nodes.io("c", "write -P 55 700k 64k", "write -z 0 1000")
    nodes.io("s", "read -v 0 512", "read -v 716800 512", "read -P 55 700k 64k", "map", "info")
    nodes.io("s", "read 0 1M", "write 0 512", "write -z 0 512", "truncate 5M", "write -c 0 64k")
    nodes.io("s", "discard 0 512", "discard 60k 200k", "flush", "alloc 0 1M", "read 0 64k")
    nodes.io("s", "read 64k 64k", "read 128k 512", "read 192k 64k")
    nodes.execute("query-named-block-nodes")
    nodes.io("c", "write 60k 200k")
    nodes.look()
    nodes.same_bytes("a.raw", "b.raw")


def test_snapshots_of_what_has_none(nodes: Drivers) -> None:
    nodes.add("snapshot-access", "s", file="f")
    nodes.io("s", "read 0 512", "map", "alloc 0 64k", "discard 0 64k", "flush", "write 0 512")
    nodes.look()
    nodes.add("snapshot-access", "s2", file="none")
    nodes.add("snapshot-access", "s2")
    nodes.add("snapshot-access", "s2", file="f", read_only=True, bogus=1)


def test_reopening(nodes: Drivers) -> None:
    nodes.add("copy-before-write", "c", file="f", target="t")
    nodes.add("snapshot-access", "s", file="c")
    whole = {"driver": "copy-before-write", "node-name": "c", "file": "f", "target": "t"}
    for change in ({}, {"read-only": True}, {"on-cbw-error": "break-snapshot"}, {"file": "t"}):
        nodes.reopen({**whole, **change})
    nodes.reopen({"driver": "snapshot-access", "node-name": "s", "file": "c"})
    for name in ("c", "f", "t"):
        nodes.delete(name)


@pytest.mark.parametrize("policy", [None, "break-guest-write", "break-snapshot"])
@pytest.mark.parametrize(
    ("where", "rule"),
    [
        ("target", {"iotype": "write", "errno": 28}),
        ("target", {"iotype": "write", "once": True}),
        ("target", {"iotype": "write-zeroes", "errno": 28}),
        ("file", {"iotype": "read"}),
        ("file", {"iotype": "write"}),
        ("file", {"iotype": "discard"}),
        ("file", {"iotype": "block-status"}),
    ],
)
def test_failures(nodes: Drivers, policy: str | None, where: str, rule: dict[str, Any]) -> None:
    rules = [{"event": "none", "sector": 256, **rule}]
    options: dict[str, Any] = {"file": "f", "target": "t"}
    below = options[where]
    nodes.add("blkdebug", "d", image=below, discard="unmap", **{"inject-error": rules})
    options[where] = "d"
    if policy is not None:
        options |= {"on-cbw-error": policy, "cbw-timeout": 30}
    nodes.add("copy-before-write", "c", discard="unmap", **options)
    nodes.add("snapshot-access", "s", file="c")
    for command in (
        *("write 0 64k", "write 128k 4k", "write 128k 4k", "write 256k 4k"),
        *("write -z 64k 192k", "discard 384k 64k"),
    ):
        nodes.io("c", command)
        nodes.io("s", "read 128k 512", "read 0 512", "read 300k 4k", "map")
    nodes.execute("query-named-block-nodes")
    nodes.same_bytes("a.raw", "b.raw")


@pytest.mark.parametrize("policy", ["break-guest-write", "break-snapshot"])
def test_timeouts(nodes: Drivers, policy: str) -> None:
    nodes.execute(
        "object-add", id="g", limits={"bps-write": 40000}, **{"qom-type": "throttle-group"}
    )
    nodes.add("throttle", "th", file="t", throttle_group="g")
    options = {"on-cbw-error": policy, "cbw-timeout": 1}
    nodes.add("copy-before-write", "c", file="f", target="th", **options)
    nodes.add("snapshot-access", "s", file="c")
    nodes.io("c", "write 0 64k", "write 64k 64k")
    nodes.io("s", "read 64k 512", "read 0 512")
    nodes.execute("qom-set", path="g", property="limits", value={"bps-write": 0})
    nodes.io("s", "read 0 512")
    nodes.io("c", "write 64k 64k")
    nodes.execute("query-named-block-nodes")
    nodes.same_bytes("a.raw", "b.raw")
