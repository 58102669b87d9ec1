"""What a daemon touches on the host for its clients, as Python itself tells (`sys.addaudithook`).

A daemon gets every request that takes a file name, with the names of files of all kinds and of
nothing.  It has to open none of them, to change none of them, and to answer for each of them as
for the others, at once: a FIFO or a device keeps nobody waiting.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from qmpd.testing import RemoteMachine
from tests.security.named import all_requests, changed
from tests.security.watched import Touch, Watched, serve

ROOT: Final = Path(__file__).parents[2]

KINDS: Final = ("nope", "file", "fifo", "folder", "link", "image")
"""Nothing, and files of all kinds but a socket: to connect to one is no secret."""

SECRET: Final = b"secret" * 512

OWN: Final = tuple(
    str(Path(each).resolve())
    for each in (
        sys.prefix,
        sys.base_prefix,
        ROOT / "qmpd",
        "/usr/share/zoneinfo",
    )
)
"""Where a program's own files are."""

ALWAYS: Final = ("/dev/null", "/dev/urandom", "/proc/self/")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Path]:
    """A directory with a file of each kind; it has to be the same afterwards."""
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "file").write_bytes(SECRET)
    os.mkfifo(folder / "fifo")
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(folder / "file")
    (folder / "image").write_bytes(b"QFI\xfb" + bytes(1000))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "dead"))
    before = _state(folder)
    yield folder
    assert _state(folder) == before


def _state(folder: Path) -> list[tuple[Any, ...]]:
    found = []
    for path in sorted(folder.iterdir()):
        status = path.lstat()
        content = path.read_bytes() if path.name in ("file", "image") else b""
        found.append((path.name, status.st_mode, status.st_ino, status.st_size, content))
    return found


def _answers(daemon: Watched, name: str) -> list[tuple[str, Any]]:
    answers = []
    with daemon.client() as vm:
        for command, arguments in all_requests(name):
            answer = vm.qmp(command, arguments)
            _settle(vm)
            answers.append((f"{command} {arguments}", changed(str(answer), name)))
    return answers


def _settle(vm: RemoteMachine) -> None:
    """Let what a request has begun come to its end."""
    while jobs := vm.cmd("query-jobs"):
        for job in jobs:
            if job["status"] == "concluded":
                vm.cmd("job-dismiss", id=job["id"])
            elif job["status"] == "ready":
                vm.cmd("job-cancel", id=job["id"])
    while vm.cmd("query-migrate").get("status") in ("setup", "active", "device"):
        pass


def _foreign(touched: list[Touch], folder: Path) -> list[Touch]:
    """What is neither the program's own nor its own socket."""
    return [
        touch
        for touch in touched
        if not touch.path.startswith((*OWN, *ALWAYS))
        and not touch.path.isdigit()
        # modules are looked for in the directory that qmpd is in
        and touch.path not in ("", str(folder / "qmp.sock"), str(ROOT))
    ]


@pytest.mark.parametrize("mode", ["memory", "overlay"])
def test_nothing_of_the_host_is_touched(tmp_path: Path, host: Path, mode: str) -> None:
    told = {}
    for kind in KINDS:
        folder = tmp_path / kind
        folder.mkdir()
        disks = ["--disk", "disk=1M", "--disk", "cd=1M"]
        with serve(folder, "--storage", mode, *disks) as daemon:
            told[kind] = _answers(daemon, str(host / kind))
            touched = daemon.touched()
        assert _foreign(touched, folder) == []
        assert not [touch for touch in touched if touch.writes and touch.path != "/dev/null"]
    for kind in KINDS:
        for number, answer in enumerate(told[kind]):
            assert (answer[1], answer[0]) == (told["nope"][number][1], answer[0])


CALLS: Final = (
    "open,openat,openat2,creat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,rmdir,link,"
    "linkat,symlink,symlinkat,mknod,mknodat,chmod,fchmodat,truncate,bind,connect,execve,access,"
    "faccessat,faccessat2,readlink,readlinkat"
)
"""Calls of the system by which files are touched.  To look whether a path is a socket's is none."""


@pytest.mark.parametrize("mode", ["memory", "overlay"])
def test_the_system_is_asked_for_nothing(tmp_path: Path, host: Path, mode: str) -> None:
    """The same, as the system tells: what is not Python's own could not hide from that."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace may not trace")
    trace = tmp_path / "trace"
    under = ["strace", "-f", "-qq", "-s", "300", "-o", str(trace), "-e", f"trace={CALLS}"]
    disks = ["--disk", "disk=1M", "--disk", "cd=1M"]
    with serve(tmp_path, "--storage", mode, *disks, under=under) as daemon:
        _answers(daemon, str(host / "file"))
        with RemoteMachine(daemon.path) as vm:
            vm.cmd("quit")
        daemon.process.wait(20)

    lines = trace.read_text(errors="replace").splitlines()
    assert any("qmp.sock" in line for line in lines)
    assert not [line for line in lines if str(host) in line]
