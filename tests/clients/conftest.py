"""A running `qmpd serve` with one disk, for real clients."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def socket_path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "qmp.sock"
    argv = [sys.executable, "-I", "-m", "qmpd.cli.main", "serve"]
    argv += ["--qmp", f"unix:{path}", "--disk", "disk0=64M", "--ready-fd", "1"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline(), "the daemon did not get ready"
    yield path
    process.terminate()
    process.stdout.close()
    assert process.wait(10) == 0
    assert not path.exists()
