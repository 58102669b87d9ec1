"""A machine with one disk, a model of its bytes, and backups of it."""

from __future__ import annotations

import random
from typing import Any

from qmpd.block.io.backend import BlockBackend
from qmpd.block.permission_bits import ALL, CONSISTENT_READ, WRITE
from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.task import Task
from tests.support.machines import TestMachine

SLICE = NANOSECONDS // 10


class BackupWorld(TestMachine):
    """A disk whose guest writes at random.

    :param chance: decides everything that is not given
    """

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance = chance
        self.size = chance.randrange(1, 4096) * 512
        self.model = bytearray(self.size)
        self.add_image("source", chance.choice(["raw", "qcow2"]))
        node = self.machine.graph.find_node("source")
        assert node is not None
        self.guest = self.clock.run(
            BlockBackend.on(node, name="disk", perm=CONSISTENT_READ | WRITE, shared=ALL)
        )
        self._number = 0
        self._under_way: list[tuple[int, int, Task]] = []

    def add_image(self, name: str, driver: str, **options: Any) -> None:
        """Make an image of the disk's size, and open it as node `name`."""
        file = {"driver": "file", "filename": f"/{name}"}
        self._create({**file, "size": self.size if driver == "raw" else 0})
        if driver == "qcow2":
            cluster = self.chance.choice([512, 4096, 65536, 262144])
            image = {"driver": driver, "file": file, "size": self.size, "cluster-size": cluster}
            self._create(image)
        self.execute("blockdev-add", driver=driver, node_name=name, file=file, **options)

    def _create(self, options: dict[str, Any]) -> None:
        self.execute("blockdev-create", job_id="create", options=options)
        self.pass_time(0)
        [job] = [j for j in self.execute("query-jobs") if j["id"] == "create"]
        assert "error" not in job, job
        self.execute("job-dismiss", id="create")

    # The guest

    def guest_acts(self, times: int) -> None:
        """Let the guest write, zero or discard; nothing waits for it to be done."""
        for _ in range(times):
            offset = self.chance.randrange(self.size)
            length = min(self.chance.choice([1, 512, 4096, 70000]), self.size - offset)
            byte = self.chance.choice([0, self.chance.randrange(1, 256)])
            self._under_way = [entry for entry in self._under_way if not entry[2].done]
            if any(offset < end and start < offset + length for start, end, _ in self._under_way):
                continue  # Which of two requests at once comes last, nobody knows.
            self.model[offset : offset + length] = bytes([byte]) * length
            if byte:
                work = self.guest.pwrite(offset, bytes([byte]) * length)
            else:
                work = self.guest.pwrite_zeroes(offset, length, may_unmap=True)
            self._number += 1
            task = self.clock.enter(work, f"guest write {self._number}")
            self._under_way.append((offset, offset + length, task))

    def pass_time(self, slices: int) -> None:
        """Let slices of a job's speed limit pass."""
        self.clock.advance(slices * SLICE)

    # Backups

    def back_up(self, target: str, **options: Any) -> bytes:
        """Back up the disk while its guest writes; returns its content at the job's start."""
        begin = bytes(self.model)
        perf = {
            "max-workers": self.chance.choice([1, 3, 64]),
            "max-chunk": self.chance.choice([0, 262144]),
        }
        speed = self.chance.choice([0, 1 << 20, 4 << 20])
        arguments = {"job_id": "j", "device": "source", "target": target, "speed": speed}
        self.execute("blockdev-backup", **arguments, x_perf=perf, **options)
        for _ in range(self.chance.randrange(5)):
            self.guest_acts(self.chance.randrange(4))
            self.pass_time(self.chance.randrange(3))
        return begin

    def finish(self) -> None:
        """Let the job go on to its end, and see that all is well."""
        if any(job["id"] == "j" for job in self.execute("query-jobs")):
            self.execute("block-job-set-speed", device="j", speed=0)
        self.pass_time(1000)
        assert self.execute("query-jobs") == []
        assert "error" not in dict(self.events).get("BLOCK_JOB_COMPLETED", {})

    def content(self, name: str) -> bytes:
        """All that node `name` holds."""
        node = self.machine.graph.find_node(name)
        assert node is not None
        data: bytes = self.clock.run(node.pread(0, self.size))
        return data

    def close(self) -> None:
        """End everything."""
        self.clock.run(self.machine.close())
