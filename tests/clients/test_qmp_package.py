"""The package `qmp`, which is QEMU's client of old on its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from qmp import QEMUMonitorProtocol

monitor = QEMUMonitorProtocol(sys.argv[1])
print(monitor.connect()["QMP"]["version"]["qemu"]["major"])
print(monitor.command("query-status")["status"])
print(monitor.cmd("block-dirty-bitmap-add", {"node": "disk0", "name": "b"}))
print(monitor.cmd("block-dirty-bitmap-add", {"node": "disk0", "name": "b"})["error"]["desc"])
monitor.command("stop")
print(monitor.pull_event(wait=10)["event"])
monitor.close()
"""

SAID = ["10", "running", "{'return': {}}", "Bitmap already exists: b", "STOP"]


def test_the_package(socket_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(socket_path)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == SAID, done.stderr
