"""Every example runs, and prints what it promises."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.conftest import socket_path

EXAMPLES = Path(__file__).parents[2] / "examples"

__all__ = ["socket_path"]


def _run(argv: list[str], stdin: str | None = None) -> str:
    result = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_bitmap_session_in_python(socket_path: Path) -> None:
    output = _run([sys.executable, str(EXAMPLES / "bitmap_session.py"), str(socket_path)])
    assert output.startswith("dirty: 131072 bytes\nsha256: ")
    assert output.endswith("dirty after clear: 0 bytes\n")


def test_bitmap_session_in_qmp_shell(socket_path: Path) -> None:
    shell = Path(sys.executable).parent / "qmp-shell"
    script = (EXAMPLES / "bitmap_session.qmp").read_text(encoding="utf-8")
    output = _run([str(shell), str(socket_path)], script)
    assert output.count('"return": {}') == 6
    assert "coarse" in output
    assert "sha256" in output
    assert "error" not in output


def test_checkpoint_handover(socket_path: Path) -> None:
    output = _run([sys.executable, str(EXAMPLES / "checkpoint_handover.py"), str(socket_path)])
    assert output.splitlines() == [
        "after the hand-over: {'checkpoint1': 196608, 'checkpoint2': 65536}",
        "refused: Dirty bitmap 'no-such-bitmap' not found",
        "nothing has changed: {'checkpoint1': 196608, 'checkpoint2': 65536}",
    ]


def test_raw_lines(socket_path: Path) -> None:
    if shutil.which("socat") is None and shutil.which("nc") is None:
        pytest.skip("neither socat nor nc is installed")
    output = _run([str(EXAMPLES / "raw_lines.sh"), str(socket_path)])
    messages = [json.loads(line) for line in output.splitlines()]
    assert "QMP" in messages[0]
    assert [message.get("id") for message in messages[2:]] == [1, 2, {"any": ["JSON", "value"]}]
    assert messages[4]["error"]["class"] == "CommandNotFound"


def test_in_process() -> None:
    output = _run([sys.executable, str(EXAMPLES / "in_process.py")])
    assert output.splitlines() == [
        "full: 16384 KiB, error: None",
        "differences: []",
        "changes: [(196608, 65536), (589824, 65536)]",
        "differences: [196608, 589824]",
        "incremental: 128 KiB, error: None",
        "differences: []",
        "changes: []",
        "event: BLOCK_JOB_COMPLETED 131072",
        "the machine took 1.0 seconds of its own time",
    ]


def test_held_time() -> None:
    output = _run([sys.executable, str(EXAMPLES / "held_time.py")])
    assert output.splitlines() == [
        "at the start: 1 of 16 MiB",
        "a while later: 1 of 16 MiB",
        "at 4.5 s: 5 of 16 MiB",
        "completed: copy - gone",
    ]
