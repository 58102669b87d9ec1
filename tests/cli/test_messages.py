"""What the programs say of wrong command lines: recorded from QEMU 10.0.2.

Each line of messages.jsonl is a command line and what the real program wrote
to standard error before it ended with status 1.  `PROGRAM` stands for its name.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qmpd.cli.storage_daemon import main as storage_daemon
from qmpd.cli.system import main as system
from tests.support.programs import qemu_missing

SYSTEM_BASE = ["-M", "none", "-display", "none", "-nodefaults"]
MESSAGES = [
    json.loads(line)
    for line in Path(__file__).with_name("messages.jsonl").read_text("utf-8").splitlines()
]


def base(message: dict[str, Any]) -> list[str]:
    return SYSTEM_BASE if "system" in message["program"] else []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.raw").write_bytes(bytes(1 << 20))
    (tmp_path / "dir").mkdir()
    handler = signal.getsignal(signal.SIGINT)
    yield tmp_path
    signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize(
    "message", MESSAGES, ids=[" ".join(message["options"])[:60] for message in MESSAGES]
)
def test_says_what_qemu_says(
    message: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = system.main if "system" in message["program"] else storage_daemon.main
    status = main([message["program"], *base(message), *message["options"]])
    said = capsys.readouterr().err.replace(message["program"] + ":", "PROGRAM:")
    assert (status, said) == (1, message["says"])


@pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))
@pytest.mark.parametrize("message", MESSAGES[::12], ids=lambda m: " ".join(m["options"])[:60])
def test_recordings_are_still_true(message: dict[str, Any], folder: Path) -> None:
    result = subprocess.run(
        [message["program"], *base(message), *message["options"]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=10,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.replace(message["program"] + ":", "PROGRAM:") == message["says"]
