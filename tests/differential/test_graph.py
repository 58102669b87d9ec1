"""Nodes with filters and bitmaps, reopened, resized, deleted: any sequence, both programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
)

from qmpd.profile.shipped import DEFAULT
from tests.block.files import Files
from tests.support.known import known
from tests.support.normal import normal
from tests.support.sequences import run_any_sequence
from tests.support.stdio import Gone
from tests.support.versions import DAEMON, SYSTEM, examples, real_argv

VERSIONS = ("5.2", "7.2", "10.0", "11.1")
EXAMPLES = int(os.environ.get("QMPD_GRAPH_EXAMPLES", "60"))
NAMES = ("a", "b", "c", "d", "e")
IMAGES = ("one.qcow2", "two.qcow2", "over.qcow2", "r.raw")
names = st.sampled_from(NAMES)
permissions = st.sampled_from(["consistent-read", "write", "write-unchanged", "resize"])
flags = st.fixed_dictionaries(
    {},
    optional={
        "read-only": st.booleans(),
        "auto-read-only": st.booleans(),
        "force-share": st.sampled_from([False, False, True]),
        "discard": st.sampled_from(["ignore", "unmap"]),
        "detect-zeroes": st.sampled_from(["off", "on", "unmap"]),
        "cache": st.fixed_dictionaries({"no-flush": st.booleans()}),
        "active": st.sampled_from([True, True, True, False]),
    },
)


@st.composite
def files(draw: st.DrawFn) -> Any:
    """A reference, or a file inline."""
    if draw(st.booleans()):
        return draw(names)
    inline = {"driver": "file", "filename": f"@/{draw(st.sampled_from(IMAGES))}"}
    if draw(st.booleans()):
        inline["node-name"] = draw(names)
    return inline


@st.composite
def nodes(draw: st.DrawFn) -> dict[str, Any]:
    """The options of a node."""
    driver = draw(
        st.sampled_from(
            [
                *("file", "file", "qcow2", "qcow2", "qcow2", "raw", "raw", "null-co"),
                *("throttle", "copy-on-read", "blkdebug", "copy-before-write", "quorum"),
                *("compress", "preallocate", "snapshot-access"),
            ]
        )
    )
    options: dict[str, Any] = {"driver": driver, **draw(flags)}
    if driver == "file":
        options["filename"] = f"@/{draw(st.sampled_from(IMAGES))}"
    elif driver == "null-co":
        options["size"] = draw(st.sampled_from([1 << 20, 65536]))
    elif driver == "quorum":
        options["children"] = draw(st.lists(files(), min_size=1, max_size=3))
        options["vote-threshold"] = draw(st.integers(1, 3))
    elif driver == "blkdebug":
        options["image"] = draw(files())
        if draw(st.booleans()):
            options["take-child-perms"] = draw(st.lists(permissions, unique=True, max_size=2))
    else:
        options["file"] = draw(files())
    if driver == "throttle":
        options["throttle-group"] = draw(st.sampled_from(["tg", "tg", "nope"]))
    if driver == "copy-before-write":
        options["target"] = draw(files())
    if driver == "qcow2" and draw(st.booleans()):
        options["backing"] = draw(st.one_of(st.none(), names))
    if driver == "raw" and draw(st.booleans()):
        options["offset"] = draw(st.sampled_from([0, 512, 65536]))
    return options


def _placed(value: Any, folder: str) -> Any:
    """`value` with the folder of the program in place of ``@``."""
    if isinstance(value, dict):
        return {name: _placed(item, folder) for name, item in value.items()}
    if isinstance(value, list):
        return [_placed(item, folder) for item in value]
    return value.replace("@/", f"{folder}/") if isinstance(value, str) else value


def _first_difference(real: str, ours: str) -> tuple[str, str]:
    at = next((n for n, (a, b) in enumerate(zip(real, ours, strict=False)) if a != b), 0)
    return real[max(0, at - 100) : at + 200], ours[max(0, at - 100) : at + 200]


class Graphs(RuleBasedStateMachine):
    """Gives both programs the same; every answer must be the same."""

    scratch: ClassVar[Path]
    version: ClassVar[str]
    program: ClassVar[str]
    both: ClassVar[Files | None] = None

    @initialize()
    def start(self) -> None:
        cls = type(self)
        for side in ("real", "ours"):
            folder = self.scratch / side
            folder.mkdir(exist_ok=True)
            for image in IMAGES:
                shutil.copy(self.scratch / image, folder / image)
        if cls.both is None:
            group = ("--object", "throttle-group,id=tg")
            cls.both = Files(self.scratch, *group, version=self.version, program=self.program)

    def do(self, command: str, arguments: dict[str, Any]) -> Any:
        """Give both the same, and compare."""
        answers = []
        assert self.both is not None
        arguments = known(self.version, command, arguments)
        for program, side in ((self.both.real, "real"), (self.both.ours, "ours")):
            folder = str(self.scratch / side)
            request = {"execute": command, "arguments": _placed(arguments, folder)}
            try:
                answers.append(normal(program.execute(request), folder))
            except Gone:
                if side == "real" and self.version != DEFAULT:
                    # It has come upon a fault of its own.
                    self.close()
                    reject()
                raise
        if answers[1] != answers[0]:
            raise AssertionError((command, arguments, _first_difference(*map(str, answers))))
        return answers[0][-1]

    @rule(options=nodes(), name=names)
    def add(self, options: dict[str, Any], name: str) -> None:
        given = [options.get("image"), *options.get("children", [])]
        if self.version == "5.2" and name in given:
            return  # it takes a node for its own child, and dies of it or hangs
        self.do("blockdev-add", {**options, "node-name": name})
        self.look()

    @rule(name=names)
    def delete(self, name: str) -> None:
        self.do("blockdev-del", {"node-name": name})
        self.look()

    @rule(
        given=st.lists(st.tuples(nodes(), names), min_size=1, max_size=2, unique_by=lambda g: g[1])
    )
    def reopen(self, given: list[tuple[dict[str, Any], str]]) -> None:
        options = [{**o, "node-name": n} for o, n in given]
        for entry in options:
            entry.pop("active", None)
        self.do("blockdev-reopen", {"options": options})
        self.look()

    @rule(name=names, size=st.sampled_from([0, 1000, 65536, 1 << 20, 3 << 20, -1]))
    def resize(self, name: str, size: int) -> None:
        if self.version != DEFAULT and self._is_a_child(name):
            return  # whether those above it see that depends on the version
        self.do("block_resize", {"node-name": name, "size": size})

    @rule(name=names, bitmap=st.sampled_from("xy"), persistent=st.booleans())
    def add_bitmap(self, name: str, bitmap: str, persistent: bool) -> None:
        arguments = {"node": name, "name": bitmap, "persistent": persistent}
        self.do("block-dirty-bitmap-add", arguments)

    @rule(name=names, bitmap=st.sampled_from("xy"))
    def remove_bitmap(self, name: str, bitmap: str) -> None:
        self.do("block-dirty-bitmap-remove", {"node": name, "name": bitmap})

    @rule(name=names, active=st.booleans())
    def set_active(self, name: str, active: bool) -> None:
        if active or self._all_active():  # QEMU dies where an image below is inactive already
            self.do("blockdev-set-active", {"node-name": name, "active": active})

    @rule(parent=names, child=st.one_of(st.none(), st.sampled_from(["children.0", "children.1"])))
    def change(self, parent: str, child: str | None) -> None:
        arguments = {"parent": parent, "child": child} if child else {"parent": parent, "node": "e"}
        self.do("x-blockdev-change", arguments)

    @rule(name=names, at=st.sampled_from([0, 65536, 1 << 20]))
    def write(self, name: str, at: int) -> None:
        if self.program == DAEMON or not self._all_active():
            return  # There is no guest, or QEMU dies of a write to what is inactive.
        line = f'qemu-io {name} "write -q {at} 4k"'
        self.do("human-monitor-command", {"command-line": line})

    def _is_a_child(self, name: str) -> bool:
        assert self.both is not None
        graph = self.both.ours.execute({"execute": "x-debug-query-block-graph"})[-1]["return"]
        nodes = {n["id"]: n["name"] for n in graph["nodes"] if n["type"] == "block-driver"}
        return any(
            nodes.get(edge["child"]) == name and edge["parent"] in nodes for edge in graph["edges"]
        )

    def _all_active(self) -> bool:
        assert self.both is not None
        query = {"execute": "query-named-block-nodes", "arguments": {"flat": True}}
        return all(node.get("active", True) for node in self.both.ours.execute(query)[-1]["return"])

    def look(self) -> None:
        self.do("query-named-block-nodes", {})
        self.do("x-debug-query-block-graph", {})

    def teardown(self) -> None:
        """Delete everything, so that the next example may have the same programs."""
        cls = type(self)
        if cls.both is None:
            return
        programs = (cls.both.real, cls.both.ours)
        try:
            for _ in NAMES:
                for name in NAMES:
                    request = {"execute": "blockdev-del", "arguments": {"node-name": name}}
                    for program in programs:
                        program.execute(request)
            query = {"execute": "query-named-block-nodes"}
            left = [program.execute(query)[-1].get("return") for program in programs]
        except (Gone, TimeoutError, OSError):
            left = [None]
        if any(nodes != [] for nodes in left):
            cls.close()

    @classmethod
    def close(cls) -> None:
        """End the programs."""
        both, cls.both = cls.both, None
        if both is not None:
            both.close()


@pytest.mark.parametrize("program", [SYSTEM, DAEMON])
@pytest.mark.parametrize("version", VERSIONS)
def test_any_sequence(version: str, program: str, tmp_path: Path) -> None:
    class Versions(Graphs):
        pass

    Versions.scratch, Versions.version, Versions.program = tmp_path, version, program
    for command in (
        "create -q -f qcow2 one.qcow2 1M",
        "create -q -f qcow2 two.qcow2 1M",
        "create -q -f qcow2 -b one.qcow2 -F qcow2 over.qcow2",
        "create -q -f raw r.raw 1M",
    ):
        argv = real_argv(version, ["qemu-img", *command.split()])
        subprocess.run(argv, cwd=tmp_path, check=True)
    try:
        run_any_sequence(Versions, examples=examples(version, EXAMPLES), steps=15)
    finally:
        Versions.close()
