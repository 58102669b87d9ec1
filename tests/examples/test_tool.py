"""examples/tool with `--qmpd-lint`: the summary is that of the tool's requests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.pages import ROOT

FOLDER = ROOT / "examples" / "tool"


def test_lint(tmp_path: Path) -> None:
    """A part of its tests; all of them are looked at in a minute and a half."""
    argv = [sys.executable, "-m", "pytest", "-q", "--qmpd-lint", "-p", "no:cacheprovider"]
    part = [f"--basetemp={tmp_path / 'base'}", "test_success.py", "test_words.py", "-k", "not qemu"]
    done = subprocess.run([*argv, *part], cwd=FOLDER, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    summary = lines[next(n for n, line in enumerate(lines) if "qmpd lint: 5.2 to 11.1" in line) :]
    told = [line for line in summary if line.startswith("blockdev-reopen: refused by 5.2: ")]
    assert len(told) == 1, done.stdout
    kinds = {line.split(": ")[1].split(" in ")[0] for line in summary if " (" in line}
    assert kinds <= {"refused by 5.2", "otherwise", "may race"}, done.stdout
