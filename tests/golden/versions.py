"""The recorded sessions as other versions of QEMU have played them: what differs from 10.0's.

``python -m tests.golden.versions VERSION...`` plays them to the real program of each version and
writes `versions/VERSION.json`: for each session, by the number of the step, the messages that came
back where they are not those of the session.  Sessions in which time matters are not played.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from qmpd.profile import load as load_profile
from tests.golden.held import HeldMachine, is_plain
from tests.golden.replay import Replayed, prepare
from tests.golden.session import Session, load
from tests.support.normal import normal
from tests.support.stdio import Gone, StdioProgram
from tests.support.versions import qmpd_argv_as, real_argv

FILES: Final = Path(__file__).parent / "versions"

NAMES: Final = (
    *("bitmap-basic", "graph-add", "graph-reopen", "qsd-nodes", "transaction-bitmaps"),
    *("wire-arguments", "wire-arguments2", "wire-arguments3", "wire-json", "wire-negotiation"),
    "wire-preconfig",
)
"""The sessions that are played."""

QUIET: Final = 0.15
"""Seconds without a message after which no more are expected, while recording."""


class _Program(StdioProgram):
    def pause(self, seconds: float) -> None:
        """Do not wait."""


def expected(version: str) -> dict[str, dict[str, list[Any]]]:
    """What was recorded of a version."""
    text = (FILES / f"{version}.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, list[Any]]] = json.loads(text)
    return found


def replay(version: str, name: str, differences: dict[str, list[Any]], scratch: Path) -> None:
    """Play a session to qmpd as `version`; fail unless what was recorded comes back."""
    session = load(name)
    argv = _prepare(session, scratch)
    with contextlib.chdir(scratch):
        machine: Replayed = (
            HeldMachine(argv, load_profile(version))
            if is_plain(argv)
            else _Program(qmpd_argv_as(version, argv), scratch)
        )
        try:
            for number, step in enumerate(session.steps):
                wanted = differences.get(str(number))
                if wanted is None:
                    wanted = [normal(message) for message in step.received]
                if step.sent:
                    machine.send(step.sent.replace(b"@TMP@", str(scratch).encode()))
                received = list(_messages(machine, len(wanted), scratch))
                assert received == _plain(wanted), step.sent
        except Gone as gone:
            raise AssertionError(f"qmpd has ended: {gone}") from None
        finally:
            machine.close()


def _messages(machine: Replayed, count: int, scratch: Path) -> Iterator[Any]:
    while count:
        line = machine.line()
        if line.startswith(b"{"):
            count -= 1
            yield _masked(json.loads(line), scratch)


def _masked(message: Any, scratch: Path) -> Any:
    """The message without what differs from run to run."""
    greeting = message.get("QMP") if isinstance(message, dict) else None
    if greeting is not None:
        greeting["version"]["package"] = ""
    return _plain(normal(message, str(scratch)))


def _plain(value: Any) -> Any:
    """The same with lists only, as JSON has them."""
    return json.loads(json.dumps(value))


def _prepare(session: Session, scratch: Path) -> list[str]:
    for command in session.preparations:
        prepare(command, scratch)
    return [word.replace("@TMP@", str(scratch)) for word in session.argv]


def record(version: str) -> dict[str, dict[str, list[Any]]]:
    """Play all sessions to the real program of a version."""
    found = {}
    for name in NAMES:
        with tempfile.TemporaryDirectory() as directory:
            found[name] = dict(_recorded(version, load(name), Path(directory)))
    return found


def _recorded(version: str, session: Session, scratch: Path) -> Iterator[tuple[str, list[Any]]]:
    argv = real_argv(version, _prepare(session, scratch))
    # images are made by the tools of the version, too
    os.environ["PATH"] = f"{shlex.quote(str(Path(argv[0]).parent))}:{os.environ['PATH']}"
    program = StdioProgram(argv, scratch)
    try:
        for number, step in enumerate(session.steps):
            if step.sent:
                program.send(step.sent.replace(b"@TMP@", str(scratch).encode()))
            received: list[Any] = []
            with contextlib.suppress(TimeoutError, Gone):
                while True:
                    wait = 5.0 if len(received) < len(step.received) else QUIET
                    received.append(_masked(program.message(wait), scratch))
            if received != _plain([normal(message) for message in step.received]):
                yield str(number), received
    finally:
        program.close()


def main(versions: list[str]) -> None:
    """Write the files of `versions`."""
    FILES.mkdir(exist_ok=True)
    for version in versions:
        lines = []
        for name, steps in record(version).items():
            inner = ",\n".join(f"  {json.dumps(n)}: {json.dumps(m)}" for n, m in steps.items())
            lines.append(f"{json.dumps(name)}: {{\n{inner}\n}}")
            print(version, name, len(steps))
        text = "{\n" + ",\n".join(lines) + "\n}\n"
        (FILES / f"{version}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
