"""Two machines, both of qmpd's or both of QEMU's: the same scenario on each, the same told."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.normal import normal, normal_text
from tests.support.programs import qemu_missing, qmpd_argv
from tests.support.stdio import Gone, StdioProgram

OPTIONS = ("-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio")

_VARIES = ("total-time", "setup-time", "downtime", "transferred", "precopy-bytes", "mbps")
"""What of a migration nobody can foretell."""

_RAM_COMPLAINTS = re.compile(r"failed to save SaveStateEntry|check_section_footer")
"""What QEMU says of its memory, or of sections that are cut: qmpd's streams have none of that."""


class Side:
    """A machine of a scenario.

    :param argv: its command line
    :param folder: its working directory, which both machines share
    """

    def __init__(self, argv: list[str], folder: Path) -> None:
        self.folder = folder
        self.program = StdioProgram(argv, folder)
        self.said: list[Any] = []
        self._events: list[Any] = []
        self.program.message()
        self.do("qmp_capabilities")

    def do(self, command: str, **arguments: Any) -> Any:
        """Run a command; its answer is noted, and events until then."""
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        messages = self.program.execute({"execute": command, "arguments": given})
        self._events += messages[:-1]
        return self._note(messages[-1])

    def _note(self, message: Any) -> Any:
        self.said.append(normal(_steady(message), str(self.folder)))
        return message.get("return", message)

    def ask(self, command: str, **arguments: Any) -> Any:
        """As `do`, but nothing is noted."""
        answer = self.do(command, **arguments)
        self.said.pop()
        return answer

    def io(self, device: str, command: str) -> Any:
        return self.do("human-monitor-command", **{"command-line": f'qemu-io {device} "{command}"'})

    def may(self, *capabilities: str) -> None:
        changes = [{"capability": name, "state": True} for name in capabilities]
        self.do("migrate-set-capabilities", capabilities=changes)

    def wait(self, name: str, *states: str) -> None:
        """Wait for an event (MIGRATION: with one of `states`), and note all up to it."""
        while True:
            for number, event in enumerate(self._events):
                if event["event"] == name and (not states or event["data"].get("status") in states):
                    for seen in self._events[: number + 1]:
                        self.said.append((seen["event"], seen.get("data")))
                    del self._events[: number + 1]
                    return
            self._events.append(self.program.message())

    def wait_for_both(self, name: str, status: str, other: str) -> None:
        """As `wait` for two events, of which either may be the first."""
        before = len(self.said)
        self.wait(name, status)
        if (other, None) not in self.said[before:]:
            self.wait(other)
        self.said[before:] = sorted(self.said[before:], key=lambda said: said[0] == name)

    def status(self, wanted: str) -> None:
        """Wait until the run state is `wanted`: it follows the last event."""
        while self.ask("query-status")["status"] != wanted:
            pass

    def bitmaps(self) -> dict[str, Any]:
        nodes = self.do("query-named-block-nodes", flat=True)
        return {node["node-name"]: node.get("dirty-bitmaps") for node in nodes}

    def ends(self) -> int:
        """Wait until it has ended by itself; what it still told is noted."""
        try:
            while True:
                self._events.append(self.program.message())
        except Gone:
            pass
        self.said += [(event["event"], event.get("data")) for event in self._events]
        return self.program.process.wait(20)

    def complaints(self) -> list[str]:
        """What it has written to standard error, but for what `_RAM_COMPLAINTS` says.

        It is ended first: threads of QEMU's write after the events that they have sent.
        """
        if self.program.process.poll() is None:
            self.program.execute({"execute": "quit"})
            self.program.process.wait(20)
        lines = self.program.stderr().splitlines()
        return [
            normal_text(line.replace("qemu-system-x86_64: ", "").replace("main.py: ", ""))
            for line in lines
            if not _RAM_COMPLAINTS.search(line)
        ]

    def close(self) -> None:
        self.program.close()


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "VARIES" if key in _VARIES else _steady(member) for key, member in value.items()
        }
    return [_steady(item) for item in value] if isinstance(value, list) else value


class World:
    """Starts machines of one kind.

    :param real: whether they are QEMU's
    :param folder: where they work
    """

    def __init__(self, folder: Path, *, real: bool) -> None:
        self.folder = folder
        self.real = real
        self.sides: list[Side] = []
        folder.mkdir()

    def image(self, name: str, *arguments: str) -> None:
        make = ["qemu-img", "create", "-q", "-f", "qcow2", *arguments[:-1], name, arguments[-1]]
        subprocess.run(make, cwd=self.folder, check=True)

    def start(self, *options: str) -> Side:
        argv = ["qemu-system-x86_64", *OPTIONS, *options]
        side = Side(argv if self.real else qmpd_argv(argv), self.folder)
        self.sides.append(side)
        return side

    def said(self) -> list[Any]:
        return [side.said for side in self.sides]


Scenario = Callable[[World], Any]


@contextmanager
def _world(folder: Path, *, real: bool) -> Iterator[World]:
    world = World(folder, real=real)
    try:
        yield world
    finally:
        for side in world.sides:
            side.close()


def same(scratch: Path, scenario: Scenario) -> None:
    """Play a scenario on QEMU's machines and on qmpd's: both tell the same."""
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    told = []
    for real in (True, False):
        with _world(scratch / ("real" if real else "ours"), real=real) as world:
            result = scenario(world)
            told.append((world.said(), result))
    assert told[1] == told[0]
