"""The programs that the same tests are run on: qmpd's, and QEMU's where installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import cache

QMPD_SYSTEM = [sys.executable, "-I", "-m", "qmpd.cli.system.main"]
QMPD_STORAGE_DAEMON = [sys.executable, "-I", "-m", "qmpd.cli.storage_daemon.main"]

REPLACED = {
    "qemu-system-x86_64": QMPD_SYSTEM,
    "qemu-storage-daemon": QMPD_STORAGE_DAEMON,
}
"""qmpd's programs by the name of the real one."""


@cache
def qemu_missing() -> str | None:
    """Why there is no real QEMU to compare with; None when there is one."""
    path = shutil.which("qemu-system-x86_64")
    if path is None:
        return "qemu-system-x86_64 is not installed"
    banner = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"version (\d+)\.(\d+)", banner)
    if match is None or int(match.group(1)) != 10:
        return f"needs QEMU 10, found {banner.splitlines()[0]}"
    return None


def qmpd_argv(argv: list[str]) -> list[str]:
    """`argv` of one of QEMU's programs with qmpd's in its place."""
    return [*REPLACED[argv[0]], *argv[1:]]
