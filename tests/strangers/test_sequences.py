"""What people have sent to QEMU, one request after the other, and what they looked at meanwhile.

A sequence begins with a line ``!server`` (the program and its options) and one ``!presh`` (what is
there before); its other lines are requests, ``!sh`` for what others see of the images, and
``!wait`` for an event that must have come before it goes on, with members of its data.

Answers are compared with answers and events with events.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.strangers.world import SIDES
from tests.support.normal import normal, normal_text
from tests.support.programs import qemu_missing, qmpd_argv
from tests.support.stdio import Gone, StdioProgram

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

SEQUENCES = sorted((Path(__file__).parent / "sequences").glob("*.qmp"))


def _shell(line: str, folder: Path) -> str:
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, capture_output=True, text=True, check=False
    )
    return normal_text(done.stdout, str(folder))


class _Player:
    """One program while it plays.

    `answers` and `events` are what there was to see.
    """

    def __init__(self, program: StdioProgram, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._passed = 0
        self.answers: list[Any] = []
        self.events: list[Any] = []

    def play(self, line: str) -> None:
        """Play a line.

        :raises Gone: the program has ended
        """
        if line.startswith("!sh "):
            self.answers.append((line, _shell(line.removeprefix("!sh "), self._folder)))
        elif line.startswith("!wait "):
            name, *members = line.split()[1:]
            while not self._has_come(name, dict(member.split("=") for member in members)):
                self.events.append(self._program.message())
        else:
            *events, answer = self._program.execute(json.loads(line))
            self.events += events
            self.answers.append((line, normal([answer], str(self._folder))))

    def _has_come(self, name: str, members: dict[str, str]) -> bool:
        """Whether an event has come since the last one that was waited for."""
        for number in range(self._passed, len(self.events)):
            event = self.events[number]
            if event["event"] == name and members.items() <= event.get("data", {}).items():
                self._passed = number + 1
                return True
        return False


def _played(lines: list[str], folder: Path, *, ours: bool) -> tuple[list[Any], list[Any]]:
    """Play a sequence; returns the answers, and the events."""
    folder.mkdir()
    argv = shlex.split(lines[0].removeprefix("!server "))
    _shell(lines[1].removeprefix("!presh "), folder)
    program = StdioProgram(qmpd_argv(argv) if ours else argv, folder)
    player = _Player(program, folder)
    try:
        program.message()
        program.execute({"execute": "qmp_capabilities"})
        for line in lines[2:]:
            player.play(line)
    except Gone:
        player.answers.append("the program ended")
    finally:
        program.close()
    return player.answers, normal(player.events, str(folder))


@pytest.mark.parametrize("path", SEQUENCES, ids=lambda path: path.stem)
def test_a_sequence(path: Path, tmp_path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    seen = {side: _played(lines, tmp_path / side, ours=side == "ours") for side in SIDES}
    for expected, got in zip(seen["real"][0], seen["ours"][0], strict=True):
        assert got == expected
    assert seen["ours"][1] == seen["real"][1]
