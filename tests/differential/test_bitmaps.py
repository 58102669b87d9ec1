"""Bitmap commands, transactions, guest writes, malformed arguments: any sequence, both programs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
)

from tests.differential.pair import Pair
from tests.support.sequences import run_any_sequence
from tests.support.versions import DAEMON, examples, on_each_program, on_each_version

SIZES = (1 << 20, 3 * 65536 + 512, 1000, 1 << 26, 512)
NAMES = ("a", "b", "c", "é x", "", "n0")
NODES = ("n0", "n1", "nope")
GRANULARITIES = (None, 512, 4096, 65536, 1 << 20, 1 << 31, 0, 511, 1000)

names = st.sampled_from(NAMES)
nodes = st.sampled_from(NODES)
sources = st.lists(
    st.one_of(names, st.fixed_dictionaries({"node": nodes, "name": names})), min_size=1, max_size=3
)
junk = st.sampled_from([None, 5, -1, 1.5, "x", [], {}, True, 1 << 64, [None], {"a": 1}])


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


@st.composite
def adds(draw: st.DrawFn) -> dict[str, Any]:
    return _given(
        node=draw(nodes),
        name=draw(names),
        granularity=draw(st.sampled_from(GRANULARITIES)),
        persistent=draw(st.sampled_from([None, None, None, False, True])),
        disabled=draw(st.sampled_from([None, None, False, True])),
    )


@st.composite
def actions(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["add", "remove", "clear", "disable", "merge", "enable", "abort"]))
    one = {"node": draw(nodes), "name": draw(names)}
    if kind == "abort":
        return {"type": "abort", "data": {}}
    if kind == "add":
        return {"type": "block-dirty-bitmap-add", "data": draw(adds())}
    if kind == "merge":
        data = {"node": one["node"], "target": one["name"], "bitmaps": draw(sources)}
        return {"type": "block-dirty-bitmap-merge", "data": data}
    return {"type": f"block-dirty-bitmap-{kind}", "data": one}


@st.composite
def malformed(draw: st.DrawFn) -> dict[str, Any]:
    """A request in which at least one value or member is not what the schema says."""
    kind = draw(st.sampled_from(["add", "remove", "clear", "enable", "disable", "merge"]))
    members: dict[str, Any] = {"node": "n0", "name": "a"}
    if kind == "merge":
        members = {"node": "n0", "target": "a", "bitmaps": ["a", {"node": "n0", "name": "a"}]}
    for name in draw(st.lists(st.sampled_from(sorted(members)), max_size=2, unique=True)):
        if draw(st.booleans()):
            del members[name]
        else:
            members[name] = draw(junk)
    extra = draw(st.lists(st.sampled_from(["x", "zz", "granularity2", "NODE", "é"]), max_size=3))
    members |= {name: draw(junk) for name in extra}
    members["granularity-"] = draw(junk)
    arguments: dict[str, Any] = members
    command = f"block-dirty-bitmap-{kind}"
    if draw(st.booleans()):
        listed: dict[str, Any] = {"type": command, "data": members}
        if draw(st.booleans()):
            listed["more"] = draw(junk)
        arguments = {"actions": [{"type": "abort", "data": {}}, listed]}
        command = "transaction"
    return {"execute": command, "arguments": arguments}


class Bitmaps(RuleBasedStateMachine):
    """Two nodes with bitmaps, in both programs."""

    pair: ClassVar[Pair]
    serial: ClassVar[Any] = itertools.count()

    @initialize(first=st.sampled_from(SIZES), second=st.sampled_from(SIZES))
    def start(self, first: int, second: int) -> None:
        for name, size in (("n0", first), ("n1", second)):
            self.pair.execute("blockdev-add", driver="null-co", **{"node-name": name}, size=size)

    @rule(arguments=adds())
    def add(self, arguments: dict[str, Any]) -> None:
        self.pair.execute("block-dirty-bitmap-add", **arguments)

    @rule(verb=st.sampled_from(["remove", "clear", "enable", "disable"]), node=nodes, name=names)
    def change(self, verb: str, node: str, name: str) -> None:
        self.pair.execute(f"block-dirty-bitmap-{verb}", node=node, name=name)

    @rule(node=nodes, into=names, bitmaps=sources)
    def merge(self, node: str, into: str, bitmaps: list[Any]) -> None:
        self.pair.execute("block-dirty-bitmap-merge", node=node, target=into, bitmaps=bitmaps)

    @rule(node=nodes, name=names)
    def sha256(self, node: str, name: str) -> None:
        self.pair.execute("x-debug-block-dirty-bitmap-sha256", node=node, name=name)

    @rule(
        node=st.sampled_from(["n0", "n1"]),
        offset=st.integers(0, 1 << 20),
        length=st.sampled_from([0, 1, 512, 4096, 65536, 65537, 300000]),
        verb=st.sampled_from(
            ["write -q", "write -q -z", "write -q -z -u", "discard -q", "read -q"]
        ),
    )
    def guest(self, node: str, offset: int, length: int, verb: str) -> None:
        if self.pair.program == DAEMON:
            return  # it has no guest
        line = f'qemu-io {node} "{verb} {offset} {length}"'
        self.pair.execute("human-monitor-command", **{"command-line": line})

    @rule(
        listed=st.lists(actions(), max_size=5),
        mode=st.sampled_from([None, "grouped", "individual"]),
    )
    def transaction(self, listed: list[dict[str, Any]], mode: str | None) -> None:
        # QEMU dies of an enable action whose bitmap is not there
        if not all(self._exists(listed, index) for index in range(len(listed))):
            listed = [a for a in listed if a["type"] != "block-dirty-bitmap-enable"]
        properties = {} if mode is None else {"properties": {"completion-mode": mode}}
        self.pair.execute("transaction", actions=listed, **properties)

    def _exists(self, listed: list[dict[str, Any]], index: int) -> bool:
        action = listed[index]
        if action["type"] != "block-dirty-bitmap-enable":
            return True
        if any("remove" in before["type"] or "add" in before["type"] for before in listed[:index]):
            return False
        answer = self.pair.ours.execute(
            {"execute": "x-debug-block-dirty-bitmap-sha256", "arguments": action["data"]}
        )
        return "return" in answer[-1]

    @rule(request=malformed())
    def refuse(self, request: dict[str, Any]) -> None:
        self.pair.request(request)

    @rule(flat=st.booleans())
    def look(self, flat: bool) -> None:
        self.pair.execute("query-named-block-nodes", flat=flat)

    def teardown(self) -> None:
        self.look(True)
        for name in ("n0", "n1"):
            self.pair.execute("blockdev-del", **{"node-name": name})


@on_each_program
def test_any_sequence_is_the_same(pair: Pair) -> None:
    Bitmaps.pair = pair
    run_any_sequence(Bitmaps, examples=examples(pair.version, 160), steps=20)


@on_each_version
def test_writes_on_raw_files(pair: Pair) -> None:
    for folder in ("real", "ours"):
        Path(pair.scratch / folder / "disk.raw").write_bytes(bytes(1 << 20))
    file = {"driver": "file", "filename": "disk.raw"}
    options = {"driver": "raw", "node-name": "r", "file": file, "discard": "unmap"}
    pair.execute("blockdev-add", **options)
    pair.execute("block-dirty-bitmap-add", node="r", name="b", granularity=4096)
    for line in (
        "write -q -P 5 0 4k",
        "write -q -z 8k 4k",
        "discard -q 64k 64k",
        "write -q 1M 1",
        "write -q -z -u 256k 64k",
    ):
        command = {"command-line": f'qemu-io r "{line}"'}
        pair.execute("human-monitor-command", **command)
        pair.execute("x-debug-block-dirty-bitmap-sha256", node="r", name="b")
    pair.execute("block_resize", **{"node-name": "r", "size": 1 << 21})
    pair.execute("query-named-block-nodes")
    pair.execute("query-blockstats", **{"query-nodes": True})
    pair.execute("blockdev-del", **{"node-name": "r"})
