"""The watch over all tests (`QMPD_AUDIT=1`) finds what it is there for, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os
from qmpd.block.images import HostFiles, access_of
from tests.support import audit

audit.install()
for room in ("block", "server"):
    code = compile("open('/dev/null').close()", f"{audit.ROOT}/{room}/x.py", "exec")
    exec(code)
HostFiles().open("/dev/null", os.O_RDONLY)
files = HostFiles(access_of("memory"))
with files.naming():
    files.open("/dev/null", os.O_RDONLY)
try:
    files.open("/dev/null", os.O_RDONLY)
except PermissionError:
    pass
print([line.partition(" by ")[0] for line in audit.found])
"""


def test_it_finds_what_a_machine_opens() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=root, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[\"open '/dev/null'\"]\n", "")
