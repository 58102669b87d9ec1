"""After a pivot both copies are equal, and are what the guest wrote, in either copy mode."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.backup.world import BackupWorld

CASES = 100


class MirrorWorld(BackupWorld):
    """A disk that is mirrored while its guest writes at random; requests to images take time."""

    def add_image(self, name: str, driver: str, **options: Any) -> None:
        """See `BackupWorld.add_image`; the image's file does so many requests a second."""
        super().add_image(name, driver, **options)
        self.execute("blockdev-del", node_name=name)
        limits = {"iops-total": self.chance.choice([0, 100, 1000])}
        self.execute("object-add", qom_type="throttle-group", id=f"of-{name}", limits=limits)
        file = {"driver": "file", "filename": f"/{name}"}
        slow = {"driver": "throttle", "throttle-group": f"of-{name}", "file": file}
        self.execute("blockdev-add", driver=driver, node_name=name, file=slow, **options)

    def mirror(self, mode: str) -> None:
        """Start to mirror the disk; the guest goes on writing, whatever the job has come to."""
        chance = self.chance
        self.add_image("target", chance.choice(["raw", "qcow2"]))
        options = {"granularity": chance.choice([512, 4096, 65536, 1 << 20])}
        if chance.randrange(2):
            options["buf_size"] = chance.choice([1, 65536, 1 << 20])
        self.execute(
            "blockdev-mirror",
            job_id="j",
            device="source",
            target="target",
            sync="full",
            copy_mode=mode,
            speed=chance.choice([0, 1 << 20, 4 << 20]),
            **options,
        )

    def write_on(self, rounds: int) -> None:
        """Let the guest write, and time pass or not."""
        for _ in range(rounds):
            self.guest_acts(self.chance.randrange(5))
            self.pass_time(self.chance.randrange(3))

    def until_ready(self) -> None:
        """Let the job copy the rest."""
        self.execute("block-job-set-speed", device="j", speed=0)
        self.pass_time(1000)
        assert "BLOCK_JOB_READY" in dict(self.events)

    def pivot(self) -> None:
        """Complete the job in the midst of the guest's writes."""
        self.guest_acts(self.chance.randrange(5))
        self.execute("job-complete", id="j")
        self.guest_acts(self.chance.randrange(3))
        self.pass_time(1000)
        assert self.execute("query-jobs") == []
        assert "error" not in dict(self.events)["BLOCK_JOB_COMPLETED"]

    def check(self) -> None:
        """What the guest reads is in the target, which has taken the source's place."""
        node = self.guest.node
        assert node is not None
        assert node.node_name == "target"
        assert self.content("target") == self.model


@pytest.mark.parametrize("mode", ["background", "write-blocking"])
@pytest.mark.parametrize("seed", range(CASES))
def test_both_copies_are_equal(mode: str, seed: int) -> None:
    world = MirrorWorld(random.Random(f"{mode} {seed}"))
    world.guest_acts(world.chance.randrange(12))
    world.pass_time(0)
    world.mirror(mode)
    world.write_on(world.chance.randrange(6))
    if mode == "background" and world.chance.randrange(4) == 0:
        world.execute("block-job-change", id="j", type="mirror", copy_mode="write-blocking")
    world.until_ready()
    world.write_on(world.chance.randrange(4))
    if world.chance.randrange(2):
        # Nothing is written while the job ends, so that the source has it all, too.
        world.pass_time(1000)
        world.execute("job-complete", id="j")
        world.pass_time(1000)
        assert world.content("source") == world.model
    else:
        world.pivot()
    world.check()
    world.close()
