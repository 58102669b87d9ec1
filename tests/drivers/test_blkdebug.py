"""blkdebug: what is refused, what fails and when, what requests are made of."""

from __future__ import annotations

from typing import Any

import pytest

from tests.drivers.pair import Drivers

SIZES = (
    *("align", "max-transfer", "opt-write-zero", "max-write-zero", "opt-discard", "max-discard"),
)
EVERYTHING = (
    *("read 0 512", "write 0 512", "write -z 0 4096", "discard 0 4096", "flush", "map"),
    *("alloc 0 4096", "read 512 512", "write 0 64k", "read -v 0 16", "write -f 0 512"),
    *("aio_write 0 512", "aio_flush", "writev 0 512 512", "write 100 5", "write -z 100 5"),
    *("write -c 0 64k", "write -n -z 0 64k", "write -u -z 0 64k", "truncate 1M"),
)


@pytest.fixture
def node(pair: Drivers) -> Drivers:
    pair.add("file", "f", filename="a.raw", discard="unmap")
    return pair


def _try(pair: Drivers, *commands: str, **options: Any) -> None:
    pair.add("blkdebug", "d", **{"image": "f", "discard": "unmap", **options})
    pair.execute("query-named-block-nodes")
    pair.io("d", *commands)
    pair.execute("query-blockstats", **{"query-nodes": True})
    pair.delete("d")


@pytest.mark.parametrize("name", SIZES)
def test_sizes(node: Drivers, name: str) -> None:
    for value in (0, 1, 3, 512, 4096, -1, 1 << 30, 2**31 - 1, 2**31, 1 << 40, 2**63 - 1, "x", 1.5):
        _try(node, **{name: value})


@pytest.mark.parametrize(
    "options",
    [
        {"align": 4096, "max-transfer": 512},
        {"align": 4096, "max-transfer": 8192},
        {"opt-write-zero": 4096, "max-write-zero": 6144},
        {"opt-write-zero": 4096, "max-write-zero": 8192, "opt-discard": 4096, "max-discard": 6144},
        {"align": -1, "max-transfer": -1, "config": "none"},
        {"align": 3, "config": "none"},
        {"align": 3, "image": "none"},
        {"config": "none", "image": "none"},
        {"image": None},
        {"image": {"driver": "file", "filename": "b.raw", "node-name": "d"}},
        {"image": {"driver": "raw", "file": {"driver": "file", "filename": "b.raw"}}},
        {"image": {"driver": "null-co", "size": 0}},
        {"image": {"driver": "null-co", "read-only": True}},
        {"read_only": True},
        {"force_share": True},
        {"auto_read_only": True, "cache": {"direct": True}},
        {"detect_zeroes": "unmap"},
        {"active": False},
        {"cache": {}},
        {"inject-error": [], "take-child-perms": [], "set-state": []},
        {"inject-error": [], "align": 3},
        {"inject-error": {}},
        {"take-child-perms": ["x"]},
    ],
)
def test_options(node: Drivers, options: dict[str, Any]) -> None:
    _try(node, **options)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("event", (None, 5, "none", "bogus", "flush_to_os")),
        ("state", (0, -1, 5, 2**31, 2**40, "x")),
        ("iotype", ("read", "write-zeroes", "block-status", "x", "Read")),
        ("errno", (0, 28, -5, 2**31, 2**32 + 28, 999, "x")),
        ("sector", (-1, 0, -2, 2**31, 2**63 - 1, "x")),
        ("once", (True, False, 1, "on")),
        ("immediately", (True, "x")),
        ("bogus", (1,)),
    ],
)
def test_rules(node: Drivers, name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        _try(node, **{"inject-error": [{"event": "pwritev", "iotype": "read", name: value}]})
        if name in ("event", "state"):
            _try(node, **{"set-state": [{"event": "none", "new_state": 2, name: value}]})


def test_states_are_named_in_one_way(node: Drivers) -> None:
    _try(node, **{"set-state": [{"event": "pwritev"}]})
    _try(node, **{"set-state": [{"event": "pwritev", "new-state": 2}]})
    _try(node, **{"inject-error": [{}]})


@pytest.mark.parametrize(
    "kind", [None, "read", "write", "write-zeroes", "discard", "flush", "block-status"]
)
def test_kinds(node: Drivers, kind: str | None) -> None:
    of_kind = {} if kind is None else {"iotype": kind}
    for more in ({}, {"once": True}, {"immediately": True}, {"errno": 28}, {"errno": 95}):
        _try(node, *EVERYTHING, **{"inject-error": [{"event": "none", **of_kind, **more}]})
    for more in ({"errno": 0}, {"sector": 0}, {"sector": 1}, {"state": 2}, {"errno": 999}):
        _try(node, *EVERYTHING, **{"inject-error": [{"event": "none", **of_kind, **more}]})


def test_negative_errors_end_requests_in_silence(node: Drivers) -> None:
    for kind in ("read", "write", "write-zeroes", "discard", "flush"):
        for number in (-5, -(2**31), 2**32 + 5):
            rule = {"event": "none", "iotype": kind, "errno": number}
            _try(node, *EVERYTHING, "read -P 205 0 512", **{"inject-error": [rule]})


@pytest.mark.parametrize(
    "event",
    [
        *("pwritev", "pwritev_done", "pwritev_zero", "pwritev_rmw_head", "pwritev_rmw_tail"),
        *("pwritev_rmw_after_head", "pwritev_rmw_after_tail", "flush_to_disk", "read_aio"),
        *("cor_write", "none"),
    ],
)
def test_events(node: Drivers, event: str) -> None:
    _try(node, *EVERYTHING, **{"align": 4096, "inject-error": [{"event": event}]})
    _try(node, *EVERYTHING, **{"inject-error": [{"event": event, "once": True}]})
    move = {"event": event, "new_state": 2}
    fail = {"event": "pwritev", "state": 2, "errno": 28}
    _try(node, *EVERYTHING, **{"align": 512, "set-state": [move], "inject-error": [fail]})


@pytest.mark.parametrize("event", ["pwritev", "pwritev_zero", "write_aio", "read_aio", "cor_write"])
def test_events_under_raw(node: Drivers, event: str) -> None:
    rules = [{"event": event, "new_state": n + 1, "state": n} for n in range(1, 6)]
    fail = [{"event": event, "state": 4, "once": True}, {"event": "pwritev_done", "state": 6}]
    node.add("blkdebug", "d", image="f", **{"set-state": rules, "inject-error": fail})
    node.add("raw", "r", file="d")
    node.add("copy-on-read", "c", file="r")
    node.io("c", *["write 0 512", "write -z 0 512", "read 0 512"] * 5)


@pytest.mark.parametrize(
    "options",
    [
        {
            "inject-error": [
                {"event": "pwritev", "state": 2},
                {"event": "flush_to_disk", "state": 3},
            ],
            "set-state": [
                {"event": "pwritev", "state": 1, "new_state": 2},
                {"event": "pwritev", "state": 2, "new_state": 3},
            ],
        },
        {"inject-error": [{"event": "pwritev", "errno": 1}, {"event": "pwritev", "errno": 2}]},
        {
            "inject-error": [
                {"event": "none", "errno": 1, "iotype": "write"},
                {"event": "none", "errno": 2, "iotype": "read", "state": 1, "once": False},
                {"event": "none", "errno": 0, "sector": 8, "immediately": False},
            ],
            "set-state": [{"event": "none", "new_state": 1}, {"event": "none", "new_state": 1}],
            "config": "config",
        },
        {"inject-error": [{"event": "none", "sector": 8, "errno": 0}, {"event": "none"}]},
    ],
)
def test_several_rules(node: Drivers, options: dict[str, Any]) -> None:
    node.write("config", "")
    _try(node, *EVERYTHING, **options)


@pytest.mark.parametrize(
    "permissions",
    [[], ["write"], ["resize", "write"], ["consistent-read", "write-unchanged"]],
)
@pytest.mark.parametrize("option", ["take-child-perms", "unshare-child-perms"])
def test_permissions(node: Drivers, option: str, permissions: list[str]) -> None:
    node.add("blkdebug", "d", image="f", **{option: permissions})
    node.edges()
    node.add("raw", "r", file="d")
    node.add("raw", "s", file="f")
    node.edges()
    node.io("r", "write 0 512")
    node.io("s", "write 0 512")


@pytest.mark.parametrize("rules", [{}, {"align": 512}, {"config": "config"}])
def test_file_names_above_it(node: Drivers, rules: dict[str, Any]) -> None:
    node.write("config", "")
    node.execute("object-add", id="g", **{"qom-type": "throttle-group"})
    node.add("blkdebug", "d", image="f", **rules)
    for driver, options in (
        ("raw", {"file": "d"}),
        ("raw", {"file": "d", "offset": 512}),
        ("copy-on-read", {"file": "d"}),
        ("quorum", {"children": ["d"], "vote-threshold": 1}),
        ("blkdebug", {"image": "d"}),
        ("blkdebug", {"image": "d", "align": 512}),
        ("throttle", {"file": "d", "throttle-group": "g"}),
    ):
        node.add(driver, "r", **options)
        node.look()
        node.io("r", "info", "map")
        node.delete("r")


def test_lengths_and_alignment(node: Drivers) -> None:
    node.add("blkdebug", "d", image="f", align=4096)
    for size in (1 << 20, (1 << 20) + 512, 5000, 0, 2 << 20):
        node.execute("block_resize", size=size, **{"node-name": "d"})
        node.execute("query-named-block-nodes")
        node.io("d", "write 0 512", "read 512 5000", "map")
    node.execute("block-dirty-bitmap-add", node="d", name="b", granularity=512)
    node.execute("block-set-write-threshold", **{"node-name": "d", "write-threshold": 1000})
    node.io("d", "write 600 10", "write -z 9000 10000", "discard 20000 4096")
    node.execute("query-named-block-nodes")
    node.execute("block_resize", size=1 << 20, **{"node-name": "f"})
    node.execute("query-named-block-nodes")
    node.make("odd.raw", 1500)
    node.add("file", "o", filename="odd.raw")
    node.add("blkdebug", "e", image="o", align=4096)
    node.io("e", "read 0 4096", "read 1024 512", "write 1000 24", "write 0 4k", "map")
    node.look()


def test_reopening(node: Drivers) -> None:
    node.write("config", "")
    node.add("file", "g", filename="b.raw")
    rule = {"event": "none", "errno": 5, "iotype": "write"}
    whole: dict[str, Any] = {"driver": "blkdebug", "node-name": "d", "image": "f", "align": 512}
    whole |= {"inject-error": [rule], "config": "config"}
    node.execute("blockdev-add", **whole)
    changes: tuple[dict[str, Any], ...] = (
        *({}, {"read-only": True}, {"read-only": False}, {"image": "g"}, {"image": None}),
        *({"image": {"driver": "file", "filename": "a.raw"}}, {"align": 1024}, {"config": "other"}),
        *({"inject-error": [{**rule, "errno": 6}]}, {"inject-error": []}, {"detect-zeroes": "on"}),
        *({"discard": "unmap"}, {"force-share": True}, {"driver": "raw", "file": "f"}),
        *({"take-child-perms": ["write"]}, {"max-transfer": 512}, {"bogus": 1}, {"cache": {}}),
        *({"cache": {"direct": True}}, {"auto-read-only": True}, {"node-name": "x"}),
    )
    for change in changes:
        node.reopen({**whole, **change})
        node.execute("query-named-block-nodes")
    for name in whole:
        node.reopen({n: value for n, value in whole.items() if n != name})


def test_a_child_of_its_own_keeps_what_it_was_given(node: Drivers) -> None:
    child = {"driver": "file", "filename": "c.raw", "node-name": "child"}
    whole: dict[str, Any] = {"driver": "blkdebug", "node-name": "d"}
    node.add("blkdebug", "d", image=child)
    for image in (child, {"driver": "file", "filename": "c.raw"}, "child"):
        for mode in ({"read-only": True}, {}):
            node.reopen({**whole, "image": image, **mode})
            node.execute("query-named-block-nodes")
    node.reopen({**whole, "image": {"driver": "file", "filename": "a.raw"}})


RULES = {
    "inject-error": [
        {"event": "none", "state": 3, "errno": 5, "once": False, "sector": 9},
        {"event": "pwritev", "state": 4, "errno": 6, "once": False},
    ],
    "set-state": [
        {"event": "none", "new_state": 1},
        {"event": "none", "new_state": 2, "state": 5},
    ],
}
INLINE: dict[str, Any] = {"driver": "blkdebug", "image": {"driver": "null-co"}, **RULES}
COPY = {"driver": "copy-before-write"}


@pytest.mark.parametrize(
    "options",
    [
        INLINE,
        {"driver": "raw", "file": INLINE},
        {"driver": "raw", "file": {"driver": "raw", "file": INLINE}},
        {"driver": "blkdebug", "image": {"driver": "raw", "file": INLINE}},
        {"driver": "quorum", "children": [INLINE, INLINE], "vote-threshold": 1},
        {**COPY, "file": {"driver": "null-co"}, "target": INLINE},
        {"driver": "raw", "file": {**COPY, "file": INLINE, "target": {"driver": "null-co"}}},
    ],
)
def test_order_of_options_in_file_names(pair: Drivers, options: dict[str, Any]) -> None:
    """It shows through how many tables of QEMU's, under which names, they have gone."""
    pair.execute("blockdev-add", **{"node-name": "d", **options})
    pair.execute("query-named-block-nodes")
