"""Scenarios in which QEMU does one thing or the other first, played to it and to qmpd."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import qmpd
from tests.support.stdio import StdioProgram

SIZE = 1 << 20
"""Bytes of each node."""


@dataclass(frozen=True)
class Wait:
    """Wait for an event that has not been waited for."""

    event: str
    data: Mapping[str, Any] = field(default_factory=dict)


Step = Wait | tuple[str, dict[str, Any]]
"""What a client does: a command that is answered before the next step, or a wait."""


@dataclass(frozen=True)
class Scenario:
    """What a client does.

    :param nodes: raw nodes on files, which hold data
    :param bad: nodes on which every write fails
    :param overlays: qcow2 nodes that are empty, each with the node below it
    :param board: the machine
    """

    nodes: str
    steps: tuple[Step, ...]
    bad: str = ""
    overlays: tuple[tuple[str, str], ...] = ()
    board: str = "none"
    plug: tuple[Step, ...] = ()
    """Further preparations."""


LAST: Step = ("query-jobs", {})
"""Ends each scenario: what comes before its answer belongs to the scenario."""

Message = str
Run = tuple[Message, ...]
"""What came back, in its order."""


def _normal(message: dict[str, Any]) -> Message:
    kept = {name: value for name, value in message.items() if name != "timestamp"}
    return json.dumps(kept, sort_keys=True)


def _preparations(scenario: Scenario, scratch: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in scenario.nodes.split():
        path = scratch / f"{name}.raw"
        path.write_bytes(b"\x01" * SIZE if name in ("a", "b", "c") else bytes(SIZE))
        file = {"driver": "file", "filename": str(path)}
        yield "blockdev-add", {"driver": "raw", "node-name": name, "file": file}
    for name in scenario.bad.split():
        path = scratch / f"{name}.raw"
        path.write_bytes(bytes(SIZE))
        rule: dict[str, Any] = {"event": "none", "iotype": "write", "errno": 5}
        image = {"driver": "file", "filename": str(path)}
        debug = {"driver": "blkdebug", "image": image, "inject-error": [rule]}
        yield "blockdev-add", {"driver": "raw", "node-name": name, "file": debug}
    for name, below in scenario.overlays:
        path = scratch / f"{name}.qcow2"
        path.write_bytes((scratch / "empty.qcow2").read_bytes())
        file = {"driver": "file", "filename": str(path)}
        node = {"driver": "qcow2", "node-name": name, "file": file, "backing": below}
        yield "blockdev-add", node


def _left(nodes: list[dict[str, Any]]) -> Iterator[str]:
    """The nodes to delete, those above before those below."""
    named = [node["node-name"] for node in nodes if not node["node-name"].startswith("#")]
    yield from reversed(named)


class _Real:
    """A real QEMU, which plays a scenario again and again."""

    def __init__(self, scenario: Scenario, scratch: Path) -> None:
        self._scenario = scenario
        self._scratch = scratch
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", scratch / "empty.qcow2", str(SIZE)],
            check=True,
        )
        argv = ["qemu-system-x86_64", "-machine", scenario.board, "-nodefaults"]
        more = ["-accel", "tcg", "-S"] if scenario.board != "none" else []
        self._program = StdioProgram([*argv, *more, "-display", "none", "-qmp", "stdio"], scratch)
        self._messages: list[dict[str, Any]] = []
        self._program.message()
        self._send("qmp_capabilities", {})

    def _read(self) -> dict[str, Any]:
        message: dict[str, Any] = self._program.message()
        self._messages.append(message)
        return message

    def _send(self, command: str, arguments: dict[str, Any]) -> Any:
        request = {"execute": command, "arguments": arguments}
        self._program.send(json.dumps(request).encode() + b"\n")
        while True:
            message = self._read()
            if "return" in message or "error" in message:
                return message.get("return")

    def play(self) -> Run:
        """Play the scenario."""
        scenario = self._scenario
        for command, arguments in _preparations(scenario, self._scratch):
            assert self._send(command, arguments) is not None
        for step in scenario.plug:
            assert isinstance(step, tuple)
            assert self._send(*step) is not None
        self._messages.clear()
        waited: list[int] = []
        for step in (*scenario.steps, LAST):
            if isinstance(step, Wait):
                self._wait(step, waited)
            else:
                self._send(*step)
        run = tuple(map(_normal, self._messages))
        self._clean_up()
        return run

    def _wait(self, wait: Wait, waited: list[int]) -> None:
        while True:
            for number, message in enumerate(self._messages):
                if number not in waited and _matches(message, wait):
                    waited.append(number)
                    return
            self._read()

    def _clean_up(self) -> None:
        if self._scenario.plug:
            self._messages.clear()
            self._send("device_del", {"id": "s"})
            self._send("system_reset", {})
            self._wait(Wait("DEVICE_DELETED", {"device": "s"}), [])
        while nodes := self._send("query-named-block-nodes", {"flat": True}):
            for name in _left(nodes):
                self._send("blockdev-del", {"node-name": name})

    def close(self) -> None:
        """End it."""
        self._program.close()


def _matches(message: dict[str, Any], wait: Wait) -> bool:
    if message.get("event") != wait.event:
        return False
    data = message.get("data", {})
    return all(data.get(name) == value for name, value in wait.data.items())


def real_runs(scenario: Scenario, scratch: Path, count: int) -> dict[Run, int]:
    """What QEMU shows in so many runs, and how often."""
    runs: dict[Run, int] = {}
    real = _Real(scenario, scratch)
    try:
        for _ in range(count):
            run = real.play()
            runs[run] = runs.get(run, 0) + 1
    finally:
        real.close()
    return runs


def scheduled_run(scenario: Scenario, scratch: Path, seed: int) -> Run:
    """What qmpd shows under one schedule."""
    board: Any = scenario.board
    with qmpd.Machine(storage="host", board=board, schedule=seed, paused=board != "none") as vm:
        for command, arguments in _preparations(scenario, scratch):
            vm.qmp(command, arguments)
        for step in scenario.plug:
            assert isinstance(step, tuple)
            vm.cmd(step[0], **step[1])
        mark = vm.journal.mark()
        vm.get_qmp_events()
        for step in (*scenario.steps, LAST):
            if isinstance(step, Wait):
                vm.event_wait(step.event, match={"data": dict(step.data)})
            else:
                vm.qmp(step[0], step[1])
        return tuple(_seen(vm, mark))


def _seen(vm: qmpd.Machine, mark: int) -> Iterator[Message]:
    for entry in vm.journal.since(mark):
        if entry.kind == "answer" and entry.answer is not None:
            yield _normal(entry.answer)
        elif entry.kind == "event":
            yield _normal({"event": entry.event, "data": entry.data})
