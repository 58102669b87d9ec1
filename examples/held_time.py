#!/usr/bin/env python3
"""Time that stands still behind a socket: a client of qemu.qmp sees a job at any moment it likes.

Usage: held_time.py
"""

import asyncio
from typing import Any

from qemu.qmp import QMPClient

import qmpd

MIB = 1 << 20


async def progress(qmp: QMPClient) -> str:
    """How far the one job has come."""
    jobs: Any = await qmp.execute("query-jobs")
    if not jobs:
        return "gone"
    return f"{jobs[0]['current-progress'] // MIB} of {jobs[0]['total-progress'] // MIB} MiB"


async def client(path: str, vm: qmpd.Machine) -> None:
    """Start a slow job, and look at it while its time stands still."""
    qmp = QMPClient("held-time")
    await qmp.connect(path)
    copy = {"job-id": "copy", "device": "disk0", "target": "disk1", "sync": "full", "speed": MIB}
    await qmp.execute("blockdev-backup", copy)
    print("at the start:", await progress(qmp))
    await asyncio.sleep(0.1)  # as long as you like: nothing goes on
    print("a while later:", await progress(qmp))
    vm.clock.advance(4.5)
    print(f"at {vm.clock.now} s:", await progress(qmp))
    with qmp.listener("BLOCK_JOB_COMPLETED") as completed:
        vm.clock.advance(60)
        event: Any = await completed.get()
    print("completed:", event["data"]["device"], "-", await progress(qmp))
    await qmp.disconnect()


def main() -> None:
    """Hold a machine's clock, and let a client in."""
    with qmpd.Machine(disks={"disk0": "16M", "disk1": "16M"}, clock="held") as vm:
        vm.disk("disk0").write(0, b"x" * 16 * MIB)
        with vm.serve() as path:
            asyncio.run(client(path, vm))


if __name__ == "__main__":
    main()
