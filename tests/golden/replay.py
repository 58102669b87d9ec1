"""Replaying a recorded session: the same input, and what came back then and now."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qmpd.block.change.blockdev import blockdev_add
from qmpd.block.change.closing import close_all
from qmpd.block.images import HostStorage
from qmpd.block.model.graph import Graph
from qmpd.loop.clock import VirtualClock
from qmpd.sim.record.flips import Flips
from tests.support.normal import normal, normal_text
from tests.support.programs import qmpd_argv
from tests.support.services import services
from tests.support.stdio import Gone, StdioProgram

SESSIONS = Path(__file__).parent / "sessions"


@dataclass
class Step:
    """What was sent at once, and all that came back before the next was."""

    sent: bytes
    received: list[Any] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    shell: str | None = None
    """What another program does instead."""


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
        elif "sh" in entry and len(recording.steps) == 1:
            recording.preparations.append(entry["sh"])
        elif "sh" in entry:
            recording.steps.append(Step(b"", shell=entry["sh"]))
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
    graph = Graph(services(clock, HostStorage()))

    async def make() -> None:
        from qmpd.block.model.driver_table import find_creator

        path = str(scratch / name)
        await find_creator("file").create(graph, {"filename": path, "size": 0})
        await blockdev_add(graph, {"driver": "file", "node-name": "file", "filename": path})
        await find_creator("qcow2").create(graph, arguments)
        await close_all(graph)

    clock.run(make())


PATIENCE = 5.0
"""Seconds for which a query is repeated until jobs are where they were when it was recorded."""


def replay(name: str, scratch: Path) -> None:
    """Play session `name` to qmpd; fail unless the same comes back."""
    recording = load(name)
    comparison = Comparison(name, scratch)
    for command in recording.preparations:
        prepare(command, scratch)
    argv = [word.replace("@TMP@", str(scratch)) for word in qmpd_argv(recording.argv)]
    program = StdioProgram(argv, scratch)
    try:
        for step in recording.steps:
            if step.shell is not None:
                prepare(step.shell, scratch)
            sent = step.sent.replace(b"@TMP@", str(scratch).encode())
            if sent:
                program.send(sent)
            now = Step(sent)
            expected = comparison.expected(step)
            while len(now.received) < len(expected.received):
                _receive(program, comparison, now)
            while len(now.printed) < len(step.printed):
                _receive(program, comparison, now)
            _check(program, comparison, expected, now)
            if b'job-pause"' in sent and "return" in now.received[-1]:
                _await_pause(program, comparison)
    except Gone as gone:
        raise AssertionError(f"qmpd has ended: {gone}") from None
    finally:
        program.close()


def _await_pause(program: StdioProgram, comparison: Comparison) -> None:
    """Let a request that is under way end, for which there was time when it was recorded."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        program.send(b'{"execute": "query-jobs"}')
        answer = Step(b"")
        while not answer.received or "return" not in answer.received[-1]:
            _receive(program, comparison, answer)
        jobs = answer.received[-1]["return"]
        if all(job["status"] in ("paused", "standby") for job in jobs):
            return


def _check(program: StdioProgram, comparison: Comparison, step: Step, now: Step) -> None:
    """Compare; a query is asked again while it differs, for jobs take their time."""
    deadline = time.monotonic() + PATIENCE
    while b'"query-' in step.sent and time.monotonic() < deadline:
        try:
            comparison.check(step, now)
        except AssertionError:
            program.send(now.sent)
            now.received.clear()
            now.raw.clear()
            while len(now.received) < len(step.received):
                _receive(program, comparison, now)
        else:
            return
    comparison.check(step, now)


def _receive(program: StdioProgram, comparison: Comparison, step: Step) -> None:
    line = program.line().decode()
    if not line.startswith("{"):
        step.printed.append(line)
    elif not comparison.replayed.is_flip(message := json.loads(line)):
        step.received.append(message)
        step.raw.append(line)


VARYING = {
    "transaction-jobs": {"busy"},
    "job-verbs": {"busy", "offset", "current-progress"},
    "job-mirror": {"busy", "offset", "current-progress"},
    "job-commit": {"busy", "offset", "current-progress"},
    "job-stream": {"busy", "offset", "current-progress"},
}
"""Members that depend on how far a job had come, by session."""


class Comparison:
    """Compares the steps of one session in their order.

    :param name: the session
    :param scratch: where it is played
    """

    def __init__(self, name: str, scratch: Path) -> None:
        self._scratch = str(scratch)
        self.recorded = Flips()
        self.replayed = Flips()
        self._varying = VARYING.get(name, {"busy"})

    def expected(self, step: Step) -> Step:
        """The next recorded step without what varies from run to run."""
        pairs = zip(step.received, step.raw, strict=True)
        kept = [(message, raw) for message, raw in pairs if not self.recorded.is_flip(message)]
        return Step(step.sent, [m for m, _ in kept], [raw for _, raw in kept], step.printed)

    def check(self, step: Step, now: Step) -> None:
        """Fail unless what came back is the same, in the same order."""
        for one, other in zip(step.received, now.received, strict=True):
            assert self._normal(other, self._scratch) == self._normal(one), step.sent
        compare_raw(step, now)
        printed = [normal_text(text, self._scratch) for text in now.printed]
        assert printed == [normal_text(text) for text in step.printed], step.sent

    def _normal(self, message: Any, scratch: str | None = None) -> Any:
        return normal(_without(message, self._varying), scratch)


def _without(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {k: 0 if k in names else _without(v, names) for k, v in value.items()}
    return [_without(item, names) for item in value] if isinstance(value, list) else value


def compare_raw(step: Step, now: Step) -> None:
    """Fail unless the lines themselves are the same, where they were recorded."""
    for expected_raw, got_raw in zip(step.raw, now.raw, strict=True):
        if expected_raw and "PACKAGE" not in normal_text(expected_raw):
            assert _untimed(got_raw) == _untimed(expected_raw), step.sent


def _untimed(raw: str) -> str:
    message = json.loads(raw)
    stamp = message.get("timestamp")
    return raw.replace(json.dumps(stamp), "TIMESTAMP") if stamp else raw
