#!/usr/bin/env python3
"""A whole incremental backup in one process: no daemon, no socket, no file, no waiting.

Usage: in_process.py
"""

from typing import Any

import qmpd

CLUSTER = 65536


def differences(vm: qmpd.Machine, one: str, other: str) -> list[int]:
    """The offsets of the clusters in which two disks differ."""
    size = vm.disk(one).size
    return [
        offset
        for offset in range(0, size, CLUSTER)
        if vm.disk(one).read(offset, CLUSTER) != vm.disk(other).read(offset, CLUSTER)
    ]


def backup(vm: qmpd.Machine, job_id: str, sync: str, **options: Any) -> None:
    """Copy the disk, or what the bitmap says, and see that it went well."""
    vm.cmd(
        "blockdev-backup",
        job_id=job_id,
        device="disk0",
        target="backup0",
        sync=sync,
        speed=1 << 20,  # bytes per second, of the machine's clock
        **options,
    )
    job = vm.job(job_id)
    job.wait(timeout=None)
    print(f"{job_id}: {job.progress[0] >> 10} KiB, error: {job.error}")


def main() -> None:
    """Back a disk up, change it, bring the backup up to date."""
    with qmpd.Machine(disks={"disk0": "16M", "backup0": "16M"}) as vm:
        vm.disk("disk0").write(0, b"first" * 200_000)
        vm.cmd("block-dirty-bitmap-add", node="disk0", name="changes", granularity=CLUSTER)
        backup(vm, "full", "full")
        print("differences:", differences(vm, "disk0", "backup0"))

        vm.disk("disk0").write(3 * CLUSTER, b"second")
        vm.disk("disk0").write(9 * CLUSTER, b"third")
        print("changes:", vm.bitmap("disk0", "changes").extents)
        print("differences:", differences(vm, "disk0", "backup0"))

        backup(vm, "incremental", "incremental", bitmap="changes")
        print("differences:", differences(vm, "disk0", "backup0"))
        print("changes:", vm.bitmap("disk0", "changes").extents)

        completed = vm.event_wait("BLOCK_JOB_COMPLETED", match={"data": {"device": "incremental"}})
        assert completed is not None
        print("event:", completed["event"], completed["data"]["offset"])
        print("the machine took", round(vm.clock.now, 1), "seconds of its own time")


if __name__ == "__main__":
    main()
