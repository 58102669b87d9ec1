"""What a suite of small tests costs, on machines of qmpd's and on the real QEMU."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.report import Report
from qmpd.testing.real import find_qemu

NAME: Final = "suite of 1000 small tests"
TESTS: Final = 1000
REAL_TESTS: Final = 100
"""How many of them are run on the real QEMU; the time is scaled."""

LIMIT: Final = 10.0
"""Seconds that the suite may take, on two cores."""

SUITE: Final = '''
"""Each test: a machine, a bitmap, a backup, a failure."""
import pytest
import qmpd

TARGET = {
    "driver": "blkdebug",
    "node-name": "full",
    "image": {"driver": "null-co", "size": 1 << 20},
    "inject-error": [{"event": "none", "iotype": "write", "errno": 28}],
}


def backup(vm, job, target):
    vm.cmd("blockdev-backup", job_id=job, device="disk0", target=target, sync="bitmap",
           bitmap="b0", bitmap_mode="on-success")
    return vm.event_wait("BLOCK_JOB_COMPLETED")["data"].get("error")


@pytest.mark.qmpd(disks={"disk0": "1M", "target": "1M"})
@pytest.mark.parametrize("number", range(COUNT))
def test_backup(qmpd_qemu, number):
    vm = qmpd_qemu
    vm.cmd("block-dirty-bitmap-add", node="disk0", name="b0")
    vm.hmp('qemu-io disk0 "write -q 64k 64k"')
    vm.cmd("blockdev-add", TARGET)
    assert backup(vm, "j0", "full") == "No space left on device"
    assert backup(vm, "j1", "target") is None
    with pytest.raises(qmpd.errors.GenericError):
        vm.cmd("block-dirty-bitmap-remove", node="disk0", name="b1")
'''


def _seconds(count: int, version: str | None) -> float:
    """How long so many tests take.

    :param version: of the real QEMU; None for qmpd
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test_suite.py").write_text(SUITE.replace("COUNT", str(count)))
        options = ["-q", "-W", "ignore", "-p", "no:cacheprovider", "--numprocesses", "2"]
        if version is not None:
            options += [f"--qmpd-real={version}", "-k", "QEMU"]
        began = time.monotonic()
        argv = [sys.executable, "-m", "pytest", *options]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the suite has failed:\n{done.stdout[-2000:]}")
        return time.monotonic() - began


def run(report: Report) -> None:
    """Measure the suite, if it is wanted."""
    if not report.wants(NAME):
        return
    real = None
    if find_qemu("10.0") is not None:
        # what pytest itself takes to start is not scaled
        idle = _seconds(1, "10.0")
        real = idle + (_seconds(REAL_TESTS, "10.0") - idle) * TESTS / REAL_TESTS
    report.add(NAME, "s", _seconds(TESTS, None), real, limit=LIMIT)
