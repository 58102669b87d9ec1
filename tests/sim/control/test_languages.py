"""The control monitor from the shell, from Node and from Go: the programs of examples/control."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmpd.testing import Server
from tests.support.npm import install_qemu_qmp

EXAMPLES = Path(__file__).parents[3] / "examples" / "control"
GO_PACKAGES = "/usr/share/gocode"

pytestmark = pytest.mark.clients


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[list[str]]:
    """The sockets of a daemon's ordinary monitor and of its control monitor."""
    control = str(tmp_path / "control.sock")
    options = ["--control", f"unix:{control}", "--clock", "held"]
    with Server(*options, "--disk", "disk0=100M", "--disk", "target=100M") as server:
        yield [server.path, control]


def run(argv: list[str], folder: Path, **environment: str) -> str:
    """Run a program to its end; returns what it prints."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        argv,
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


SAID = [
    "backup: 37 %",
    "backup: No space left on device",
    "there is no disk 'disk9'",
]


def test_shell(sockets: list[str], tmp_path: Path) -> None:
    said = run(["sh", str(EXAMPLES / "control.sh"), *sockets], tmp_path)
    assert f'"current-progress": {37 << 20}' in said
    assert '"error": "No space left on device"' in said
    assert "qmpd ctl: there is no disk 'disk9'" in said


def test_node(sockets: list[str], tmp_path: Path) -> None:
    if (reason := install_qemu_qmp(tmp_path)) is not None:
        pytest.skip(reason)
    shutil.copy(EXAMPLES / "control.js", tmp_path)
    said = run(["node", "--no-deprecation", "control.js", *sockets], tmp_path)
    assert said.splitlines() == SAID


def test_go(sockets: list[str], tmp_path: Path) -> None:
    packages = os.environ.get("QMPD_TEST_GOPATH", GO_PACKAGES)
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    if not Path(packages, "src/github.com/digitalocean/go-qemu/qmp").is_dir():
        pytest.skip("golang-github-digitalocean-go-qemu-dev is not installed")
    shutil.copy(EXAMPLES / "main.go", tmp_path)
    said = run(
        ["go", "run", "main.go", *sockets],
        tmp_path,
        GO111MODULE="off",
        GOPATH=packages,
        GOFLAGS="",
        GOCACHE=str(tmp_path / "cache"),
    )
    assert said.splitlines() == SAID
