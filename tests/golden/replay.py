"""Replaying a recorded session: the same input, and the same comes back.

A session of a machine with drives and one monitor is played in this process, with time that is
held (`HeldMachine`); any other one is played to qmpd's program.  Each is played once.  Where QEMU
itself answers one or the other from run to run, any of its answers will do (`variants`).
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Protocol

from qmpd.block.change.blockdev import blockdev_add
from qmpd.block.change.closing import close_all
from qmpd.block.images import HostStorage
from qmpd.block.model.graph import Graph
from qmpd.loop.clock import VirtualClock
from tests.golden import variants
from tests.golden.held import HeldMachine, is_plain
from tests.golden.session import SESSIONS, Exchange, load
from tests.support.normal import normal, normal_text
from tests.support.programs import qmpd_argv
from tests.support.services import services
from tests.support.stdio import Gone, StdioProgram

__all__ = ["SESSIONS", "load", "replay"]


class Replayed(Protocol):
    """What a session is played to."""

    def send(self, data: bytes) -> None:
        """Send input."""

    def line(self) -> bytes:
        """The next line of its output.

        :raises Gone: there will be none
        """

    def pause(self, seconds: float) -> None:
        """Send nothing for a while."""

    def close(self) -> object:
        """End it."""


class _Program(StdioProgram):
    """qmpd's program; nothing in these sessions depends on the time between requests."""

    def pause(self, seconds: float) -> None:
        """Do not wait."""


def prepare(command: str, scratch: Path) -> None:
    """Run a preparation; images are made by qmpd where there is no qemu-img."""
    if command.startswith("qemu-img create") and shutil.which("qemu-img") is None:
        _create(shlex.split(command)[2:], scratch)
    else:
        subprocess.run(command, shell=True, cwd=scratch, check=True, stdout=subprocess.DEVNULL)


def _create(words: list[str], scratch: Path) -> None:
    options: dict[str, Any] = {}
    while words[0].startswith("-"):
        letter, value, *words = words
        if letter == "-o":
            options |= dict(pair.split("=") for pair in value.split(","))
    name, size = words
    units = {"k": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    length = int(size[:-1]) * units[size[-1]]
    arguments: dict[str, Any] = {"driver": "qcow2", "file": "file", "size": length}
    if "compat" in options:
        arguments["version"] = "v2" if options["compat"] == "0.10" else "v3"
    if "cluster_size" in options:
        value = options["cluster_size"]
        arguments["cluster-size"] = int(value[:-1]) * units[value[-1]]
    clock = VirtualClock()
    graph = Graph(services(clock, HostStorage()))

    async def make() -> None:
        from qmpd.block.model.driver_table import find_creator

        path = str(scratch / name)
        await find_creator("file").create(graph, {"filename": path, "size": 0})
        await blockdev_add(graph, {"driver": "file", "node-name": "file", "filename": path})
        await find_creator("qcow2").create(graph, arguments)
        await close_all(graph)

    clock.run(make())


def replay(name: str, scratch: Path) -> None:
    """Play session `name` to qmpd; fail unless the same comes back."""
    session = load(name)
    for command in session.preparations:
        prepare(command, scratch)
    argv = [word.replace("@TMP@", str(scratch)) for word in session.argv]
    with contextlib.chdir(scratch):
        machine: Replayed = (
            HeldMachine(argv) if is_plain(argv) else _Program(qmpd_argv(argv), scratch)
        )
        try:
            for step, expected in zip(session.steps, variants.read(session, name), strict=True):
                if step.shell is not None:
                    prepare(step.shell, scratch)
                _play(machine, step, expected, scratch)
                machine.pause(step.pause)
        except Gone as gone:
            raise AssertionError(f"qmpd has ended: {gone}") from None
        finally:
            machine.close()


def _play(machine: Replayed, step: Exchange, expected: variants.Step, scratch: Path) -> None:
    """Send what was sent in one step, and compare what comes back as it comes."""
    sent = step.sent.replace(b"@TMP@", str(scratch).encode())
    if sent:
        machine.send(sent)
    received: list[Any] = []
    raw: list[str] = []
    printed: list[str] = []
    while expected.goes_on(received) or len(printed) < len(step.printed):
        line = machine.line().decode()
        if not line.startswith("{"):
            printed.append(normal_text(line, str(scratch)))
            continue
        raw.append(line)
        received.append(normal(json.loads(line), str(scratch)))
        if expected.goes_on(received) is None:
            # what the session has in this place shows best what is wrong
            assert received == [normal(message) for message in step.received], step.sent
    assert printed == [normal_text(text) for text in step.printed], step.sent
    compare_raw(step, raw)


def compare_raw(step: Exchange, raw: list[str]) -> None:
    """Fail unless the lines themselves are the same, where they were recorded."""
    if not any(step.raw):
        return
    for expected_raw, got_raw in zip(step.raw, raw, strict=True):
        if expected_raw and "PACKAGE" not in normal_text(expected_raw):
            assert _untimed(got_raw) == _untimed(expected_raw), step.sent


def _untimed(raw: str) -> str:
    message = json.loads(raw)
    stamp = message.get("timestamp")
    return raw.replace(json.dumps(stamp), "TIMESTAMP") if stamp else raw
