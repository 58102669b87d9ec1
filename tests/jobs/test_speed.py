"""Raising the speed limit of a job that waits for it lets it go on."""

from __future__ import annotations

from typing import Any

import pytest

from qmpd.loop.clock import NANOSECONDS
from tests.support.machines import TestMachine

SIZE = 8 << 20
JOBS: dict[str, dict[str, Any]] = {
    "block-commit": {"device": "top", "top-node": "mid", "base-node": "base"},
    "block-stream": {"device": "top"},
    "blockdev-mirror": {
        "device": "top",
        "target": "target",
        "sync": "full",
        "buf-size": 1 << 20,
        "granularity": 65536,
    },
    "blockdev-backup": {"device": "top", "target": "target", "sync": "full"},
}


@pytest.fixture
def machine() -> TestMachine:
    """A chain of three images, all written, and a target."""
    machine = TestMachine()
    below = None
    for name in ("base", "mid", "top", "target"):
        options = {"driver": "file", "filename": name, "size": 0}
        machine.execute("blockdev-create", job_id="c", options=options)
        machine.clock.settle()
        machine.execute("job-dismiss", id="c")
        machine.execute("blockdev-add", driver="file", node_name=f"{name}-file", filename=name)
        options = {"driver": "qcow2", "file": f"{name}-file", "size": SIZE}
        machine.execute("blockdev-create", job_id="c", options=options)
        machine.clock.settle()
        machine.execute("job-dismiss", id="c")
        backing: dict[str, Any] = {} if below is None or name == "target" else {"backing": below}
        machine.execute(
            "blockdev-add", driver="qcow2", node_name=name, file=f"{name}-file", **backing
        )
        machine.hmp(f'qemu-io {name} "write 0 {SIZE if name != "top" else 4096}"')
        below = name
    return machine


def _offset(machine: TestMachine) -> int:
    return sum(job["current-progress"] for job in machine.execute("query-jobs"))


@pytest.mark.parametrize("higher", [2, 4, 64])
@pytest.mark.parametrize("elapsed", [20, 150, 350])
@pytest.mark.parametrize("command", JOBS)
def test_raised_while_waiting(
    machine: TestMachine, command: str, elapsed: int, higher: int
) -> None:
    """For any time since the job began to wait, and any higher limit."""
    options = {name.replace("-", "_"): value for name, value in JOBS[command].items()}
    machine.execute(command, job_id="j", speed=1 << 20, **options)
    machine.clock.advance(elapsed * NANOSECONDS // 1000)
    assert 0 < _offset(machine) < SIZE

    machine.execute("block-job-set-speed", device="j", speed=higher << 20)
    machine.clock.advance(8 * NANOSECONDS)

    names = [name for name, _ in machine.events]
    assert "BLOCK_JOB_READY" in names or "BLOCK_JOB_COMPLETED" in names
