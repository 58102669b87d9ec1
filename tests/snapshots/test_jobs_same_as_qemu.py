"""snapshot-save, -load and -delete among all that changes disks: any sequence, both programs.

QEMU's snapshots have a VM state and ours have none, so its size does not count, nor what its
clusters do to the length of the file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)

from tests.block.files import Files
from tests.support.normal import normal
from tests.support.programs import qemu_missing
from tests.support.sequences import run_any_sequence
from tests.support.stdio import Gone, StdioProgram

EXAMPLES = int(os.environ.get("QMPD_SNAPSHOT_EXAMPLES", "20"))
SIZES = [1 << 20, 1 << 19, 3 << 20]
IMAGES = ("one.qcow2", "two.qcow2", "raw.raw")
NODES = ("n0", "n1", "rw", "f")
"""Two qcow2 images, a raw node that may stand on the second, and a file."""
nodes = st.sampled_from(["n0", "n0", "n1", "n1", "rw", "f", "nope"])
disks = st.sampled_from(["n0", "n1", "rw"])
devices = st.one_of(
    st.sampled_from([["n0", "n1"], ["n1", "n0"], ["n0", "rw"]]), st.lists(nodes, max_size=3)
)
tags = st.sampled_from(["a", "b", "c", ""])
ids = st.sampled_from(["1", "2", "3", "a", ""])
_ROW = re.compile(r"\S+ [KMG]?i?B \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \d{4}:\d\d:\d\d\.\d{3}")
_VARYING = ("vm-state-size", "vm-clock-sec")


def _comparable(value: Any) -> Any:
    """A normal form without what the VM state changes."""
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if isinstance(value, tuple):
        name, member = value
        return (name, 0) if name in _VARYING else (name, _comparable(member))
    return re.sub(" +", " ", _ROW.sub("ROW", value)) if isinstance(value, str) else value


class Snapshots(RuleBasedStateMachine):
    """Gives both programs the same; answers and events must be the same, and what is read."""

    scratch: ClassVar[Path]
    both: ClassVar[Files | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.saved: list[dict[str, Any]] = []
        """The arguments of what was saved."""

    @initialize()
    def start(self) -> None:
        cls = type(self)
        for side in ("real", "ours"):
            folder = self.scratch / side
            folder.mkdir(exist_ok=True)
            for image in IMAGES:
                shutil.copy(self.scratch / image, folder / image)
        if cls.both is None:
            cls.both = Files(self.scratch)
        for node, image in (("n0", "one.qcow2"), ("n1", "two.qcow2")):
            file = {"driver": "file", "filename": image}
            self.do("blockdev-add", {"driver": "qcow2", "node-name": node, "file": file})
        file = {"driver": "file", "node-name": "f", "filename": "raw.raw"}
        self.do("blockdev-add", file)

    def programs(self) -> tuple[StdioProgram, StdioProgram]:
        """The real one, and ours."""
        assert self.both is not None
        return self.both.real, self.both.ours

    def do(self, command: str, arguments: dict[str, Any], *, until: str | None = None) -> Any:
        """Give both the same, and compare.

        :param until: the state of a job to wait for, unless the command fails
        """
        answers = []
        for program in self.programs():
            messages = program.execute({"execute": command, "arguments": arguments})
            while until is not None and "return" in str(messages) and not _reached(messages, until):
                messages.append(program.message())
            answers.append(_comparable(normal(messages)))
        assert answers[1] == answers[0], (command, arguments)
        return answers[0]

    def job(self, command: str, arguments: dict[str, Any]) -> None:
        """Run a job to its end, and forget it."""
        messages = self.do(command, {"job-id": "j", **arguments}, until="concluded")
        if command == "snapshot-save" and "aborting" not in str(messages):
            self.saved.append(arguments)
        self.do("query-jobs", {})
        self.do("query-status", {})
        self.do("job-dismiss", {"id": "j"})
        self.look()

    def look(self) -> None:
        """Ask for all that snapshots change."""
        self.do("human-monitor-command", {"command-line": "info snapshots"})
        shown = []
        for program in self.programs():
            query = {"execute": "query-named-block-nodes", "arguments": {"flat": True}}
            found = program.execute(query)[-1]["return"]
            named = [node for node in found if node["node-name"] in NODES]
            shown.append(_comparable(normal(named)))
        assert shown[1] == shown[0]

    @rule(tag=tags, vmstate=nodes, devices=devices)
    def save(self, tag: str, vmstate: str, devices: list[str]) -> None:
        self.job("snapshot-save", {"tag": tag, "vmstate": vmstate, "devices": devices})

    @rule(tag=tags, devices=devices, which=st.integers(0, 2))
    def save_well(self, tag: str, devices: list[str], which: int) -> None:
        if devices:
            vmstate = devices[which % len(devices)]
            self.job("snapshot-save", {"tag": tag, "vmstate": vmstate, "devices": devices})

    @rule(tag=tags, vmstate=nodes, devices=devices)
    def load(self, tag: str, vmstate: str, devices: list[str]) -> None:
        self.job("snapshot-load", {"tag": tag, "vmstate": vmstate, "devices": devices})

    @rule(
        tag=tags,
        devices=st.sampled_from([["n0"], ["n1"], ["n0", "n1"], ["n1", "n0"]]),
        writes=st.lists(st.tuples(disks, st.integers(0, 7), st.integers(0, 255)), max_size=4),
        size=st.one_of(st.none(), st.sampled_from(SIZES)),
    )
    def there_and_back(
        self, tag: str, devices: list[str], writes: list[tuple[str, int, int]], size: int | None
    ) -> None:
        self.save_well(tag, devices, 0)
        for node, at, byte in writes:
            self.write(node, at, byte)
        if size is not None:
            self.resize(devices[-1], size)
        self.load(tag, devices[0], devices)
        self.read("n0")
        self.read("n1")

    @precondition(lambda self: self.saved)
    @rule(which=st.integers(0, 9), stranger=st.booleans())
    def load_well(self, which: int, stranger: bool) -> None:
        arguments = dict(self.saved[which % len(self.saved)])
        if stranger:
            arguments["vmstate"] = arguments["devices"][0]
        self.job("snapshot-load", arguments)
        self.read("n0")
        self.read("n1")

    @rule(tag=tags, devices=devices)
    def delete(self, tag: str, devices: list[str]) -> None:
        self.job("snapshot-delete", {"tag": tag, "devices": devices})

    @rule(node=nodes, tag=tags)
    def internal(self, node: str, tag: str) -> None:
        self.do("blockdev-snapshot-internal-sync", {"device": node, "name": tag})

    @rule(node=nodes, chosen=st.fixed_dictionaries({}, optional={"id": ids, "name": tags}))
    def delete_internal(self, node: str, chosen: dict[str, str]) -> None:
        self.do("blockdev-snapshot-delete-internal-sync", {"device": node, **chosen})

    @rule(node=disks, at=st.integers(0, 7), byte=st.integers(0, 255))
    def write(self, node: str, at: int, byte: int) -> None:
        self.io(node, f"write -q -P {byte} {at << 16} 64k")

    @rule(node=disks)
    def read(self, node: str) -> None:
        for at in range(8):
            self.io(node, f"read -v {at << 16} 16")

    def io(self, node: str, command: str) -> None:
        """Let qemu-io do something; what it prints must be the same."""
        line = f'{{"execute":"human-monitor-command","arguments":{{"command-line":"qemu-io {node} '
        printed = []
        for program in self.programs():
            program.send(f'{line}\\"{command}\\""}}}}\n'.encode())
            lines = [program.line()]
            while not lines[-1].startswith(b"{"):
                lines.append(program.line())
            printed.append([line for line in lines if b" ops; " not in line])
        assert printed[1] == printed[0], (node, command)

    @rule(node=disks, size=st.sampled_from(SIZES))
    def resize(self, node: str, size: int) -> None:
        self.do("block_resize", {"node-name": node, "size": size})

    @rule(node=nodes)
    def add_bitmap(self, node: str) -> None:
        self.do("block-dirty-bitmap-add", {"node": node, "name": "b"})

    @rule(node=nodes)
    def remove_bitmap(self, node: str) -> None:
        self.do("block-dirty-bitmap-remove", {"node": node, "name": "b"})

    @rule()
    def stack(self) -> None:
        self.do("blockdev-add", {"driver": "raw", "node-name": "rw", "file": "n1"})

    @rule()
    def unstack(self) -> None:
        self.do("blockdev-del", {"node-name": "rw"})

    @rule(command=st.sampled_from(["stop", "cont", "cont"]))
    def run_or_stop(self, command: str) -> None:
        self.do(command, {})
        self.do("query-status", {})

    def teardown(self) -> None:
        """Delete everything, so that the next example may have the same programs."""
        if self.both is None:
            return
        try:
            for node in ("rw", "n0", "n1", "f"):
                for program in self.programs():
                    program.execute({"execute": "blockdev-del", "arguments": {"node-name": node}})
            for program in self.programs():
                program.execute({"execute": "cont"})
                assert program.execute({"execute": "query-jobs"})[-1] == {"return": []}
            for image in IMAGES[:2]:
                # QEMU's own may leak clusters of the VM state.
                check = ["qemu-img", "check", "-q", str(self.scratch / "ours" / image)]
                subprocess.run(check, check=True, timeout=20)
        except BaseException:
            type(self).close()
            raise

    @classmethod
    def close(cls) -> None:
        """End the programs."""
        both, cls.both = cls.both, None
        if both is not None:
            try:
                both.close()
            except (Gone, OSError):
                return


def _reached(messages: list[Any], status: str) -> bool:
    return any(message.get("data", {}).get("status") == status for message in messages)


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
@pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))
def test_any_sequence(tmp_path: Path) -> None:
    Snapshots.scratch = tmp_path
    for image in IMAGES[:2]:
        command = ["qemu-img", "create", "-q", "-f", "qcow2", str(tmp_path / image), "1M"]
        subprocess.run(command, check=True, timeout=20)
    (tmp_path / IMAGES[2]).write_bytes(bytes(1 << 20))
    run_any_sequence(Snapshots, examples=EXAMPLES, steps=15)
    Snapshots.close()


DRIVES = {
    "empty": ["if=none,id=d0"],
    "qcow2": ["if=none,id=d0,format=qcow2,file=one.qcow2"],
    "raw": ["if=none,id=d0,format=raw,file=raw.raw"],
    "two": [
        "if=none,id=d0,format=raw,file=raw.raw",
        "if=none,id=d1,format=qcow2,file=one.qcow2",
    ],
    "read-only": ["if=none,id=d0,format=qcow2,readonly=on,file=one.qcow2"],
}


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
@pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))
@pytest.mark.parametrize("drives", DRIVES.values(), ids=DRIVES)
def test_info_snapshots_of_drives(tmp_path: Path, drives: list[str]) -> None:
    """With backends that hold disks, nodes of the monitor are not looked at."""
    for image in IMAGES[:2]:
        for command in (
            ["create", "-q", "-f", "qcow2", image, "1M"],
            ["snapshot", "-c", "s", image],
        ):
            subprocess.run(["qemu-img", *command], check=True, timeout=20, cwd=tmp_path)
    (tmp_path / IMAGES[2]).write_bytes(bytes(1 << 20))
    for side in ("real", "ours"):
        (tmp_path / side).mkdir()
        for image in IMAGES:
            shutil.copy(tmp_path / image, tmp_path / side / image)
    both = Files(tmp_path, *(word for drive in drives for word in ("-drive", drive)))
    info = {"command-line": "info snapshots"}
    both.execute("human-monitor-command", **info)
    both.add("qcow2", "n", file={"driver": "file", "filename": "two.qcow2"})
    both.execute("human-monitor-command", **info)
    both.execute("human-monitor-command", **{"command-line": "info block -v -n"})
    both.close()
