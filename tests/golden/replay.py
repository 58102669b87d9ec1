"""Replaying a recorded session: the same input, and what came back then and now."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qmpd.block.graph import Graph
from qmpd.block.images import HostStorage
from qmpd.clock import VirtualClock
from tests.support.normal import normal, normal_text
from tests.support.programs import qmpd_argv
from tests.support.stdio import Gone, StdioProgram

SESSIONS = Path(__file__).parent / "sessions"


@dataclass
class Step:
    """What was sent at once, and all that came back before the next was."""

    sent: bytes
    received: list[Any] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)


@dataclass
class Recording:
    """A recorded session."""

    argv: list[str]
    preparations: list[str]
    steps: list[Step]


def load(name: str) -> Recording:
    """Read session `name`."""
    recording = Recording([], [], [Step(b"")])
    for line in (SESSIONS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "command" in entry:
            recording.argv = entry["command"]
        elif "sh" in entry:
            recording.preparations.append(entry["sh"])
        elif "send" in entry:
            recording.steps.append(Step(json.dumps(entry["send"]).encode() + b"\n"))
        elif "send_raw" in entry:
            recording.steps.append(Step(entry["send_raw"].encode("latin-1")))
        elif "recv" in entry:
            recording.steps[-1].received.append(entry["recv"])
            recording.steps[-1].raw.append(entry.get("raw", ""))
        elif "stdout" in entry:
            recording.steps[-1].printed.append(entry["stdout"])
    return recording


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
    graph = Graph(emit=lambda name, data=None: None, storage=HostStorage(), clock=clock)

    async def make() -> None:
        from qmpd.block.drivers import find_driver

        path = str(scratch / name)
        await find_driver("file").create(graph, {"filename": path, "size": 0})
        await graph.blockdev_add({"driver": "file", "node-name": "file", "filename": path})
        await find_driver("qcow2").create(graph, arguments)
        await graph.close()

    clock.run(make())


def replay(recording: Recording, scratch: Path) -> Iterator[tuple[Step, Step]]:
    """Play the session to qmpd; each step as recorded, and as it went now."""
    for command in recording.preparations:
        prepare(command, scratch)
    argv = [word.replace("@TMP@", str(scratch)) for word in qmpd_argv(recording.argv)]
    program = StdioProgram(argv, scratch)
    try:
        for step in recording.steps:
            sent = step.sent.replace(b"@TMP@", str(scratch).encode())
            if sent:
                program.send(sent)
            now = Step(sent)
            while len(now.received) < len(step.received):
                _receive(program, now)
            while len(now.printed) < len(step.printed):
                _receive(program, now)
            yield step, now
    except Gone as gone:
        raise AssertionError(f"qmpd has ended: {gone}") from None
    finally:
        program.close()


def _receive(program: StdioProgram, step: Step) -> None:
    line = program.line().decode()
    if line.startswith("{"):
        step.received.append(json.loads(line))
        step.raw.append(line)
    else:
        step.printed.append(line)


def compare(step: Step, now: Step, scratch: Path) -> None:
    """Fail unless what came back is the same, in the same order."""
    path = str(scratch)
    for expected, got in zip(step.received, now.received, strict=True):
        assert normal(got, path) == normal(expected), step.sent
    for expected_raw, got_raw in zip(step.raw, now.raw, strict=True):
        if expected_raw and "PACKAGE" not in normal_text(expected_raw):
            assert _untimed(got_raw) == _untimed(expected_raw), step.sent
    printed = [normal_text(text, path) for text in now.printed]
    assert printed == [normal_text(text) for text in step.printed], step.sent


def _untimed(raw: str) -> str:
    message = json.loads(raw)
    stamp = message.get("timestamp")
    return raw.replace(json.dumps(stamp), "TIMESTAMP") if stamp else raw
