"""quorum: votes, patterns of reading, corrections, children that come and go, and its events."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.drivers.pair import SIDES, Drivers

THREE = ("a", "b", "c")
READS = ("read 0 512", "read 64k 64k", "map", "alloc 0 64k")
WRITES = (
    *("write -P 1 0 512", "write -P 1 64k 64k", "write -z 0 4k", "discard 0 4k", "flush"),
    *("write -f 0 512", "read 0 512"),
)
EIO: dict[str, Any] = {"errno": 5}
ENOSPC: dict[str, Any] = {"errno": 28}

_names = (f"q{number}" for number in itertools.count())


@pytest.fixture
def files(pair: Drivers) -> Drivers:
    """Nodes a, b and c; quorum's events, of which there is one a second, are kept apart."""
    pair.apart = frozenset({"QUORUM_REPORT_BAD", "QUORUM_FAILURE"})
    for name in THREE:
        pair.add("file", name, filename=f"{name}.raw", discard="unmap")
    return pair


def _try(pair: Drivers, **options: Any) -> None:
    pair.add("quorum", "q", **{"children": [*THREE], "vote-threshold": 2, **options})
    pair.execute("query-named-block-nodes", flat=True)
    pair.delete("q")


@pytest.mark.parametrize(
    "children",
    [
        [],
        ["a"],
        ["a", "a"],
        "a",
        ["a", None],
        ["a", "none"],
        ["a", "q"],
        ["a", "small"],
        [{"driver": "null-co"}, {"driver": "null-co", "node-name": "q"}],
        [{"driver": "null-co"}, {"driver": "null-co", "size": 5}],
        [{"driver": "null-co"}, {"driver": "null-co", "read-zeroes": True, "node-name": "x"}],
    ],
)
def test_children(files: Drivers, children: Any) -> None:
    files.make("small.raw", 1 << 19)
    files.add("file", "small", filename="small.raw")
    _try(files, children=children)
    _try(files, children=children, **{"vote-threshold": 1})
    _try(files, children=children, **{"vote-threshold": 3})


@pytest.mark.parametrize(
    "options",
    [
        *({"vote-threshold": n} for n in (0, 1, 3, 4, -1, 2**31, 2**32 + 2, 2**63 - 1, "x")),
        {"blkverify": True},
        {"blkverify": True, "children": ["a", "b"]},
        {"blkverify": True, "children": ["a", "b"], "vote-threshold": 1},
        {"blkverify": True, "children": ["a", "b"], "rewrite-corrupted": True},
        {"blkverify": True, "vote-threshold": 4},
        {"blkverify": False, "rewrite-corrupted": False},
        {"rewrite-corrupted": True},
        {"rewrite-corrupted": True, "read-only": True},
        {"read-pattern": "quorum"},
        {"read-pattern": "x"},
        {"read-pattern": "fifo"},
        {"read-pattern": "fifo", "blkverify": True, "rewrite-corrupted": True},
        {"children": ["none"], "vote-threshold": 4},
        {"read-only": True, "force-share": True},
        {"detect-zeroes": "unmap", "discard": "unmap"},
        {"active": False},
        {"cache": {}},
        {"bogus": 1},
    ],
)
def test_options(files: Drivers, options: dict[str, Any]) -> None:
    _try(files, **options)


def test_guests(files: Drivers) -> None:
    files.add("quorum", "q", children=[*THREE], vote_threshold=2)
    files.look()
    files.edges()
    files.io("q", "write -P 1 0 64k", "read -P 1 0 64k", "write -z 0 4k", "write -z -u 8k 4k")
    files.io("q", "discard 64k 64k", "write -c 0 64k", "flush", "map", "alloc 0 1M", "info")
    files.io("q", "length", "truncate 2M", "write -f 0 512", "read 100 7", "write 100 7")
    files.look()
    files.execute("block_resize", size=2 << 20, **{"node-name": "q"})
    files.add("raw", "r", file="a")
    files.io("a", "write 0 512", "read 0 512")
    files.same_bytes("a.raw", "b.raw", "c.raw")
    whole = {"driver": "quorum", "node-name": "q", "children": [*THREE], "vote-threshold": 2}
    for change in ({}, {"vote-threshold": 1}, {"read-only": True}, {"children": ["a", "b"]}):
        files.reopen({**whole, **change})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"vote-threshold": 1},
        {"vote-threshold": 3},
        {"read-pattern": "fifo"},
        {"rewrite-corrupted": True},
    ],
)
@pytest.mark.parametrize(
    "rules",
    [
        (EIO, None, None),
        (EIO, ENOSPC, None),
        (EIO, ENOSPC, ENOSPC),
        (EIO, ENOSPC, EIO),
        (None, ENOSPC, EIO),
        ({**EIO, "iotype": "write"}, None, None),
        ({**EIO, "iotype": "flush"}, {**ENOSPC, "iotype": "flush"}, None),
        ({**EIO, "iotype": "discard"},) * 3,
        ({"errno": 95, "iotype": "write-zeroes"}, None, None),
        ({**EIO, "iotype": "block-status"}, None, None),
    ],
)
def test_failures(
    files: Drivers, rules: tuple[dict[str, Any] | None, ...], options: dict[str, Any]
) -> None:
    for name, rule in zip(THREE, rules, strict=True):
        given = {} if rule is None else {"inject-error": [{"event": "none", **rule}]}
        files.add("blkdebug", f"d{name}", image=name, discard="unmap", **given)
    children = [f"d{name}" for name in THREE]
    options = {"children": children, "vote-threshold": 2, **options}
    files.add("quorum", "q", discard="unmap", **options)
    files.io("q", *READS, *WRITES, *READS)
    files.execute("query-blockstats", **{"query-nodes": True})
    files.same_bytes("a.raw", "b.raw", "c.raw")


@pytest.mark.parametrize("rewrite", [False, True])
def test_corruption(files: Drivers, rewrite: bool) -> None:
    options = {"vote-threshold": 2, "rewrite-corrupted": rewrite}
    files.add("quorum", "q", children=[*THREE], **options)
    files.patch("b.raw", 0, b"b" * 512)
    files.io("q", "read -v 0 16", "read 0 64k")
    files.patch("c.raw", 600, b"c")
    files.patch("b.raw", 600, b"b")
    files.io("q", "read -v 512 512", "read 0 64k", "read -v 0 512")
    files.patch("c.raw", 600, b"b")
    files.io("q", "read -v 512 512", "read 0 64k")
    files.same_bytes("a.raw", "b.raw", "c.raw")
    files.delete("q")
    files.add("quorum", "q", children=[*THREE], vote_threshold=1, read_pattern="fifo")
    files.patch("a.raw", 0, b"a" * 512)
    files.io("q", "read -v 0 16")


def test_children_come_and_go(files: Drivers) -> None:
    files.add("null-co", "z", size=1 << 20)
    files.add("null-co", "small", size=1 << 19)
    files.add("quorum", "q", children=[*THREE], vote_threshold=2)
    for change in (
        {"child": "children.0"},
        {"child": "children.1"},
        {"child": "children.7"},
        {},
        *({"node": name} for name in ("a", "z", "small", "none", "q")),
        {"node": "a", "child": "children.1"},
        {"child": "children.3"},
        {"node": "b"},
    ):
        files.execute("x-blockdev-change", parent="q", **change)
        files.edges()
        files.execute("query-named-block-nodes", flat=True)
    files.io("q", "read 0 64k")
    files.delete("q")
    files.add("quorum", "q", children=["a", "b"], vote_threshold=2, blkverify=True)
    files.io("q", "write -P 3 0 64k", "read -P 3 0 64k")
    files.execute("x-blockdev-change", parent="q", node="c")
    files.look()


def _fail(pair: Drivers, *rules: dict[str, Any] | None) -> tuple[str, list[str]]:
    """A quorum of three, each failing as its rule says, under names of their own."""
    children = [next(_names) for _ in THREE]
    for image, child, rule in zip(THREE, children, rules, strict=True):
        given = {} if rule is None else {"inject-error": [{"event": "none", **rule}]}
        pair.add("blkdebug", child, image=image, **given)
    name = next(_names)
    pair.add("quorum", name, children=children, vote_threshold=2)
    return name, children


@pytest.mark.parametrize(
    ("rules", "command", "count"),
    [
        ((EIO, None, None), "read 1k 3000", 1),
        ((EIO, ENOSPC, None), "write 64k 64k", 2),
        (({**EIO, "iotype": "flush"}, None, None), "write 0 512; flush", 1),
        ((None, None, {**EIO, "iotype": "write-zeroes"}), "write -z 100 1000", 1),
        ((None, {**EIO, "iotype": "block-status"}, None), "map", 1),
    ],
)
def test_reports(files: Drivers, rules: Any, command: str, count: int) -> None:
    """Each child's first failure is told at once."""
    name, children = _fail(files, *rules)
    files.io(name, *command.split("; "))
    real, ours = (files.told(side, *children) for side in SIDES)
    assert len(real) == count
    assert ours == real


def test_reports_come_once_a_second(files: Drivers) -> None:
    name, (child, *_) = _fail(files, EIO, None, None)
    files.io(name, "read 0 512", "read 512 512", "read 1024 512")
    real, ours = (files.wait_told(side, 2, child) for side in SIDES)
    assert ours == real


def test_failure_is_told(files: Drivers) -> None:
    name, _ = _fail(files, EIO, EIO, None)
    files.io(name, "read 1k 1k")
    real, ours = (files.wait_told(side, 1, name) for side in SIDES)
    assert ours == real
