"""qmp-shell and qmp-shell-wrap, the real programs, as subprocesses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """\
block-dirty-bitmap-add node=disk0 name=b0 granularity=65536
query-named-block-nodes flat=true
transaction(
block-dirty-bitmap-add node=disk0 name=b1
block-dirty-bitmap-clear node=disk0 name=b0
)
block-dirty-bitmap-remove node=disk0 name=nope
"""


def _program(name: str) -> str:
    path = Path(sys.executable).parent / name
    assert path.exists(), f"{name} belongs to qemu.qmp and is not installed"
    return str(path)


def _check(output: str) -> None:
    assert output.count('"return": {}') >= 2, output
    assert '"granularity": 65536' in output, output
    assert "Dirty bitmap 'nope' not found" in output, output


def test_qmp_shell(socket_path: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [_program("qmp-shell"), str(socket_path)],
        input=SCRIPT,
        capture_output=True,
        text=True,
        timeout=60,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert result.returncode == 0, result.stderr
    _check(result.stdout)


def test_qmp_shell_as_human_monitor(socket_path: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [_program("qmp-shell"), "-H", str(socket_path)],
        input='qemu-io disk0 "write 0 128k"\ninfo block\n',
        capture_output=True,
        text=True,
        timeout=60,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert result.returncode == 0, result.stderr
    assert "disk0" in result.stdout


def test_qmp_shell_wrap(tmp_path: Path) -> None:
    wrapped = tmp_path / "qemu-system-x86_64"
    wrapped.write_text(f'#!/bin/sh\nexec {sys.executable} -I -m qmpd.cli.system.main "$@"\n')
    wrapped.chmod(0o755)
    result = subprocess.run(
        [
            _program("qmp-shell-wrap"),
            *("--", str(wrapped), "-display", "none", "-nodefaults", "-machine", "none"),
            *("-blockdev", "driver=null-co,node-name=disk0,size=67108864"),
        ],
        input=SCRIPT + "quit\n",
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
    )
    _check(result.stdout)
