"""Programs made up from a number: what they do to a machine, and the bytes that come of it.

``python -m tests.sim.programs FIRST COUNT`` prints the digest of each.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import qmpd
from qmpd.errors import MachineClosed, QmpError, WaitsForever
from qmpd.monitor.transport import Output

MIB = 1 << 20
STEPS = 40


class Wire:
    """A monitor of the machine, and all bytes that it has sent."""

    def __init__(self, vm: qmpd.Machine) -> None:
        self._vm = vm
        self.sent = bytearray()
        self._join()
        vm._core.bench.followers.append(self._join)

    def _join(self) -> None:
        output = Output(lambda data: self.sent.extend(data))
        self._monitor = self._vm._core.monitors.add_qmp("wire", output)
        self._monitor.opened()
        self.send("qmp_capabilities")

    def send(self, command: str, **arguments: Any) -> None:
        """Send a command; its answer comes when it comes."""
        names = {name.replace("_", "-"): value for name, value in arguments.items()}
        self._monitor.feed(json.dumps({"execute": command, "arguments": names}).encode())


class Program:
    """What the number `seed` stands for, done to a machine of that seed."""

    def __init__(self, seed: int) -> None:
        self.choose = Random(seed)
        images = {"disk1": {"path": "disk1", "format": "qcow2", "size": "8M"}}
        self.vm = qmpd.Machine(
            disks={"disk0": "8M", "target": "8M"}, images=images, clock="held", seed=seed
        )
        self.wire = Wire(self.vm)
        self.names = ["disk0", "disk1", "target"]
        self.made = 0
        self.steps: list[Callable[[], None]] = [
            self.write, self.write, self.advance, self.advance, self.advance, self.query,
            self.bitmap, self.bitmap, self.transaction, self.copy, self.copy, self.job,
            self.snapshot, self.merge, self.fault, self.no_fault, self.pace, self.node, self.human,
            self.guest, self.workload, self.run_state, self.again,
        ]  # fmt: skip

    def run(self) -> bytes:
        """Do all of it and return what was on the wire; the machine is killed in the end."""
        for _ in range(STEPS):
            step = self.choose.choice(self.steps)
            with suppress(QmpError, LookupError, TimeoutError, MachineClosed):
                step()
            while self.vm.closed:
                # requests that are under way may need time to come to their end
                with suppress(WaitsForever):
                    self.vm.restart()
                    break
                self.vm.clock.advance(10)
            self.vm.clock.advance(0)
        self.vm.crash()
        return bytes(self.wire.sent)

    def disk(self) -> str:
        return self.choose.choice(self.names)

    def new(self, stem: str) -> str:
        self.made += 1
        return f"{stem}{self.made}"

    def write(self) -> None:
        offset = self.choose.randrange(127) * 65536
        self.vm.disk(self.disk()).write(offset, self.choose.randbytes(16) * 4096)

    def advance(self) -> None:
        self.vm.clock.advance(self.choose.choice((0.001, 0.1, 0.7, 3, 20)))

    def query(self) -> None:
        queries = ("query-block", "query-named-block-nodes", "query-jobs", "query-blockstats")
        self.wire.send(self.choose.choice((*queries, "query-status", "query-block-jobs")))

    def bitmap(self) -> None:
        verb = self.choose.choice(("add", "add", "remove", "clear", "enable", "disable"))
        bitmap = {"node": self.disk(), "name": self.choose.choice("xyz")}
        self.wire.send(f"block-dirty-bitmap-{verb}", **bitmap)

    def transaction(self) -> None:
        data = {"node": self.disk(), "name": self.choose.choice("xyz")}
        actions = [
            {"type": f"block-dirty-bitmap-{verb}", "data": data} for verb in ("add", "disable")
        ]
        snapshot = {"device": self.disk(), "snapshot-file": self.new("overlay")}
        actions.append({"type": "blockdev-snapshot-sync", "data": snapshot})
        self.wire.send("transaction", actions=actions[: self.choose.randrange(1, 4)])

    def copy(self) -> None:
        job = {"job_id": self.choose.choice("jk"), "device": self.disk(), "target": self.disk()}
        speed = self.choose.choice((0, MIB, 4 * MIB))
        sync = self.choose.choice(("full", "top", "none"))
        command = self.choose.choice(("blockdev-backup", "blockdev-mirror"))
        self.wire.send(command, **job, sync=sync, speed=speed)

    def job(self) -> None:
        verb = self.choose.choice(("pause", "resume", "complete", "cancel", "finalize", "dismiss"))
        self.wire.send(f"job-{verb}", id=self.choose.choice("jk"))

    def snapshot(self) -> None:
        self.wire.send(
            "blockdev-snapshot-sync", device=self.disk(), snapshot_file=self.new("overlay")
        )

    def merge(self) -> None:
        command = self.choose.choice(("block-commit", "block-stream"))
        self.wire.send(command, job_id=self.choose.choice("jk"), device=self.disk(), speed=MIB)

    def fault(self) -> None:
        operation = self.choose.choice(("pread", "pwrite", "flush"))
        skip, count = self.choose.randrange(3), self.choose.randrange(1, 4)
        self.vm.faults.fail(operation, node=self.disk(), skip=skip, count=count, errno="ENOSPC")

    def no_fault(self) -> None:
        self.vm.faults.clear()

    def pace(self) -> None:
        self.vm.pace(self.disk(), bytes_per_second=self.choose.choice((MIB, 16 * MIB)))

    def node(self) -> None:
        # it gets a name that the machine makes up
        image = {"driver": "null-co", "size": MIB}
        self.wire.send("blockdev-add", driver="raw", node_name=self.new("node"), file=image)

    def human(self) -> None:
        lines = ("info block", "info jobs", 'qemu-io disk0 "read 0 4k"', "info snapshots")
        self.wire.send("human-monitor-command", command_line=self.choose.choice(lines))

    def guest(self) -> None:
        self.choose.choice((self.vm.guest.reboot, self.vm.guest.panic, self.vm.guest.shutdown))()

    def workload(self) -> None:
        self.vm.disk(self.disk()).workload(self.choose.randrange(100), writes=10, interval=0.2)

    def run_state(self) -> None:
        self.wire.send(self.choose.choice(("stop", "cont", "cont", "system_reset")))

    def again(self) -> None:
        self.choose.choice((self.vm.reset, self.vm.restart, self.vm.crash))()


def bytes_of(seed: int) -> bytes:
    """What was on the wire of program `seed`."""
    return Program(seed).run()


def digest(seed: int) -> str:
    """A line about program `seed` that only the same bytes have."""
    sent = bytes_of(seed)
    return f"{seed} {len(sent)} {hashlib.sha256(sent).hexdigest()}"


if __name__ == "__main__":
    first, count = int(sys.argv[1]), int(sys.argv[2])
    for number in range(first, first + count):
        print(digest(number), flush=True)
