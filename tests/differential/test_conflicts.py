"""Who is told of when parents of a node do not agree, and in which order children are asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.differential.pair import Pair
from tests.support.versions import on_each_version

WRITER = {"take-child-perms": ["write", "resize"], "unshare-child-perms": ["resize", "write"]}
"""How blkdebug asks for more than it is asked for."""


@pytest.fixture
def nodes(pair: Pair) -> Iterator[Pair]:
    """Both programs with nodes ``b``, ``c`` and ``t``; all nodes are deleted in the end."""
    for name in "bct":
        add(pair, name, "null-co", size=1 << 20)
    yield pair
    for name in "hedtcb":
        pair.execute("blockdev-del", **{"node-name": name})
    assert pair.execute("query-named-block-nodes") == {"return": []}


def add(pair: Pair, name: str, driver: str, **options: Any) -> None:
    pair.execute("blockdev-add", driver=driver, **{"node-name": name, **options})


def quorum(pair: Pair, name: str, children: str) -> None:
    add(pair, name, "quorum", children=[*children], **{"vote-threshold": 1})


@on_each_version
@pytest.mark.parametrize(
    ("one", "other"), [("cb", "cbc"), ("cb", "cb"), ("cb", "bc"), ("ccc", "b"), ("bcc", "cb")]
)
def test_several_children_of_a_writer(nodes: Pair, one: str, other: str) -> None:
    quorum(nodes, "d", one)
    quorum(nodes, "e", other)
    add(nodes, "h", "blkdebug", image="d", **WRITER)


@on_each_version
def test_what_cannot_be_written_is_beside_what_is_in_use(nodes: Pair) -> None:
    nodes.execute("blockdev-del", **{"node-name": "t"})
    add(nodes, "t", "null-co", size=1 << 20, **{"read-only": True})
    for children in ("bbt", "tbb"):
        quorum(nodes, "d", children)
        add(nodes, "h", "blkdebug", image="d", **WRITER)
        nodes.execute("blockdev-del", **{"node-name": "d"})


@on_each_version
def test_a_job_begins_and_ends_below_a_quorum(nodes: Pair) -> None:
    """What takes the place of a child is its newest child then, but in 5.2."""
    quorum(nodes, "d", "cb")
    backup = {"job-id": "j", "device": "c", "target": "t", "sync": "none", "speed": 1}
    nodes.execute("blockdev-backup", **{**backup, "target": "b"})
    children = [_children(nodes)]
    nodes.execute("blockdev-backup", **backup)
    children.append(_children(nodes))
    nodes.execute("block-job-cancel", device="j")
    children.append(_children(nodes))
    assert all(len(names) == 2 for names in children)


def _children(pair: Pair) -> list[str]:
    """The names of the children of node ``d``, which must be in the same order in both."""
    both = []
    for program in (pair.real, pair.ours):
        shown = program.execute({"execute": "x-debug-query-block-graph"})[-1]["return"]
        above = next(node["id"] for node in shown["nodes"] if node["name"] == "d")
        both.append([edge["name"] for edge in shown["edges"] if edge["parent"] == above])
    assert both[1] == both[0]
    return both[0]


@on_each_version
@pytest.mark.parametrize("said", [{}, {"force-share": False}])
def test_what_a_parent_has_said_of_sharing_cannot_be_reset(
    pair: Pair, said: dict[str, Any]
) -> None:
    image = {"driver": "null-co", "node-name": "a"}
    add(pair, "e", "raw", file=image, **said)
    pair.execute("x-blockdev-reopen", **image)
    pair.execute("blockdev-reopen", options=[image])
    pair.execute("blockdev-del", **{"node-name": "e"})
