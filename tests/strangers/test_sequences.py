"""What people have sent to QEMU, one request after the other, and what they looked at meanwhile.

A sequence begins with a line ``!server`` (the program and its options) and one ``!presh`` (what is
there before); its other lines are requests, and ``!sh`` for what others see of the images.
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


def _played(lines: list[str], folder: Path, *, ours: bool) -> list[Any]:
    """Play a sequence; returns what there was to see, request by request."""
    folder.mkdir()
    argv = shlex.split(lines[0].removeprefix("!server "))
    _shell(lines[1].removeprefix("!presh "), folder)
    program = StdioProgram(qmpd_argv(argv) if ours else argv, folder)
    seen: list[Any] = []
    try:
        program.message()
        program.execute({"execute": "qmp_capabilities"})
        for line in lines[2:]:
            if line.startswith("!sh "):
                seen.append((line, _shell(line.removeprefix("!sh "), folder)))
            else:
                answer = program.execute(json.loads(line))
                seen.append((line, normal(answer, str(folder))))
    except Gone:
        seen.append("the program ended")
    finally:
        program.close()
    return seen


@pytest.mark.parametrize("path", SEQUENCES, ids=lambda path: path.stem)
def test_a_sequence(path: Path, tmp_path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    seen = {side: _played(lines, tmp_path / side, ours=side == "ours") for side in SIDES}
    for expected, got in zip(seen["real"], seen["ours"], strict=True):
        assert got == expected
