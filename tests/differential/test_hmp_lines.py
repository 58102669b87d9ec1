"""Random lines of the human monitor, one after the other: each version shows the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.differential.hmp_lines import IMAGES, OPTIONS, SET_UP, lines
from tests.differential.pair import Pair
from tests.support.normal import normal_text
from tests.support.stdio import Gone, StdioProgram
from tests.support.versions import MEASURED, examples

_THREAD: Final = re.compile("thread_id=[0-9]+")
_SNAPSHOT: Final = re.compile(
    r"(\\r\\n(?:--|[0-9]+) +(?!vm-)\S*|vm-[0-9]+) +[0-9.]+ (?:[KM]i)?B +[0-9-]+ [0-9:]+ +[0-9:.]+"
)
_DISK_SIZE: Final = re.compile(r"disk size: [0-9.]+ (?:[KM]i)?B")
"""How many blocks a file has, which the file system decides."""

_HELP: Final = re.compile(r'(\{"return": "(?:info )?)[a-z|?_-]+ (?:[^"\\]|\\.)* -- ')

GONE: Final = "it has ended"

LINES: Final = 25
"""Lines of an example."""

SEED: Final = os.environ.get("QMPD_HMP_SEED", "0")


class Monitors(Pair):
    """Both programs with drives and nodes, asked for lines of the human monitor."""

    def __init__(self, scratch: Path, version: str) -> None:
        for name in ("real", "ours"):
            (scratch / name).mkdir(parents=True)
            for image in IMAGES:
                make = ["qemu-img", "create", "-q", *image.split()]
                subprocess.run(make, cwd=scratch / name, check=True)
        super().__init__(scratch, *OPTIONS, version=version)
        for node in SET_UP:
            self.execute("blockdev-add", **node)

    def run(self, line: str) -> tuple[Any, Any]:
        """What the real one answers and prints, and what qmpd does."""
        request = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
        shown = [self._shown(name, request) for name in ("real", "ours")]
        return shown[0], shown[1]

    def _shown(self, name: str, request: dict[str, Any]) -> list[str]:
        program: StdioProgram = getattr(self, name)
        found: list[str] = []
        try:
            program.send(json.dumps(request).encode())
            while not found or not found[-1].startswith(('{"return"', '{"error"')):
                found.append(program.line().decode())
            _settle(program)
        except (Gone, BrokenPipeError):
            found.append(GONE)
        told = [text for text in found if not text.startswith('{"timestamp"')]
        return [_alike(normal_text(text, str(self.scratch / name))) for text in told]


def _alike(text: str) -> str:
    """The same in both: help is in words of each, and lists what each of them serves."""
    text = _DISK_SIZE.sub("disk size: SIZE", text)
    text = _SNAPSHOT.sub(r"\1 SIZE DATE CLOCK", _THREAD.sub("thread_id=", text))
    return text if (found := _HELP.match(text)) is None else found[1]


def _settle(program: StdioProgram) -> None:
    """Wait until no job is at work."""
    deadline = time.monotonic() + program.timeout
    while any(
        job["status"] not in ("ready", "paused", "standby", "concluded", "pending")
        for job in program.execute({"execute": "query-jobs"})[-1]["return"]
    ):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("version", MEASURED)
def test_random_lines(version: str, tmp_path: Path) -> None:
    count = examples(version, 3, few=3)
    place = MEASURED.index(version)
    differences = []
    for number in range(count):
        monitors = Monitors(tmp_path / str(number), version)
        said = []
        try:
            for line in lines(Random(f"{SEED}/{place}/{number}"), LINES):
                said.append(line)
                real, ours = monitors.run(line)
                if GONE in real or "qmpd" in ours[-1]:
                    # QEMU has faults of its own, and qmpd says what it does not do
                    break
                if ours != real:
                    differences.append(f"{number}: {said}\n  {real}\n  {ours}")
                    break
        finally:
            monitors.close()
    assert not differences, "\n".join(differences)
