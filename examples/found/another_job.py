#!/usr/bin/env python3
"""Does a backup tool mistake the end of another job for its own?

    another_job.py SOCKET TOOL [ARGUMENT ...]

SOCKET is a second monitor of the machine that TOOL makes a backup of.  As soon as a job of the tool
runs, another one, which is none of its business, begins and ends.  The tool's backup has to be slow
enough for that (a speed limit).
"""

from __future__ import annotations

import subprocess
import sys

from qmpd.testing import RemoteMachine


def main(path: str, *tool: str) -> None:
    """Run the tool, and say how it ended and what still ran."""
    with RemoteMachine(path) as vm:
        for node in ("other0", "other1"):
            vm.cmd("blockdev-add", driver="null-co", node_name=node, size=65536, read_zeroes=True)
        process = subprocess.Popen(tool, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not any(job["type"] == "backup" for job in vm.cmd("query-jobs")):
            vm.event_wait("JOB_STATUS_CHANGE")
        vm.cmd("blockdev-backup", job_id="other", device="other0", target="other1", sync="full")
        print("exit status", process.wait())
        for job in vm.cmd("query-jobs"):
            done, total = job["current-progress"], job["total-progress"]
            print(f"{job['id']} is {job['status']}: {done} of {total} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
