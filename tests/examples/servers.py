"""The daemons that the examples run on: qmpd's, and QEMU's where installed."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.programs import qemu_missing, qmpd_argv

SIZE = 64 << 20

_BLOCKDEV = "driver=raw,node-name=disk0,file.driver=file,file.filename=disk.raw"
_SYSTEM = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine"]
_MONITOR = "socket,id=monitor,server=on,wait=off,fd="

_COMMAND_LINES = {
    "system": [*_SYSTEM, "none", "-blockdev", _BLOCKDEV],
    "drive": [*_SYSTEM, "pc", "-S", "-drive", "if=none,id=disk0,file=disk.raw,format=raw"],
    "device": [
        *(*_SYSTEM, "pc", "-S", "-blockdev", _BLOCKDEV),
        *("-device", "virtio-blk-pci,drive=disk0,share-rw=on"),
    ],
    "storage-daemon": ["qemu-storage-daemon", "--blockdev", _BLOCKDEV],
}

QMPD = ["serve", "serve-host", *(f"qmpd-{name}" for name in _COMMAND_LINES)]
"""qmpd with a disk: in memory, and in a file as the block layer's several ways have it."""

SERVERS = [*QMPD, *(f"qemu-{name}" for name in _COMMAND_LINES)]
"""The same, and QEMU's own programs."""


def missing(name: str) -> str | None:
    """Why server `name` cannot be had; None when it can."""
    return qemu_missing() if name.startswith("qemu-") else None


def has_files(name: str) -> bool:
    """Whether the disk of server `name`, and its images, are files."""
    return name != "serve"


@contextmanager
def running(name: str, directory: Path) -> Iterator[Path]:
    """A server, with a disk `disk0` of `SIZE` zeroes; the path of its QMP socket.

    :param directory: where it runs, and has its files
    """
    path = directory / "qmp.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        is_serve = name.startswith("serve")
        argv = _serve(name, path) if is_serve else _argv(name, listener, path)
        if has_files(name):
            with open(directory / "disk.raw", "wb") as disk:
                disk.truncate(SIZE)
        process = subprocess.Popen(
            argv,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )
    try:
        if is_serve:
            assert process.stdout is not None
            assert process.stdout.readline(), "the daemon did not get ready"
        yield path
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _serve(name: str, path: Path) -> list[str]:
    argv = [sys.executable, "-I", "-m", "qmpd.cli.main", "serve", "--ready-fd", "1"]
    disk = ["--disk", f"disk0={SIZE}"]
    if name == "serve-host":
        disk = ["--storage", "host", "--image", "disk.raw,name=disk0"]
    return [*argv, "--qmp", f"unix:{path}", *disk]


def _argv(name: str, listener: socket.socket, path: Path) -> list[str]:
    """A command line whose monitor listens before the program runs: nobody has to wait."""
    listener.bind(str(path))
    listener.listen()
    program, _, form = name.partition("-")
    argv = _COMMAND_LINES[form]
    argv = qmpd_argv(argv) if program == "qmpd" else argv
    monitor = ["--chardev", f"{_MONITOR}{listener.fileno()}"]
    if form == "storage-daemon":
        return [*argv, *monitor, "--monitor", "monitor"]
    return [*argv, *monitor, "--mon", "monitor,mode=control"]
