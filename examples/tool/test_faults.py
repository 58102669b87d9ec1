"""What happens to a backup when the storage, the machine or the client fails half-way."""

from __future__ import annotations

import pytest
from world import DISKS, IMAGES, KIB, MIB, World

import qmpd

pytestmark = pytest.mark.qmpd(images=IMAGES)

TARGET = "vmbackup-*-t0"
"""The node of the first disk's new image."""


def test_no_space_at_the_third_cluster(world: World, vm: qmpd.Machine) -> None:
    world.write("disk0", 0, MIB, 1)
    assert world.backup("full") == ""
    world.write("disk0", 0, MIB, 2)
    world.write("disk1", 0, 64 * KIB, 3)
    fault = vm.faults.fail(
        "pwrite", node=TARGET, offset=128 * KIB, length=64 * KIB, errno="ENOSPC", later=True
    )
    with fault:
        words = world.backup("inc")
    assert fault.hits > 0
    assert words == "vmbackup: the copy failed: No space left on device"
    assert world.points() == [0]
    assert vm.cmd("query-jobs") == []
    assert not any(name.startswith("vmbackup") for name in vm.nodes)
    # nothing is lost: what the failed backup should have had is in the next
    world.write("disk0", 2 * MIB, 64 * KIB, 4)
    assert world.backup("inc") == ""
    world.check()


def test_a_disk_that_cannot_be_read(world: World, vm: qmpd.Machine) -> None:
    world.write("disk1", 0, MIB, 1)
    with vm.faults.fail("pread", node="disk1", errno="EIO", offset=512 * KIB, length=512):
        assert world.backup("full") == "vmbackup: the copy failed: Input/output error"
    assert world.points() == []
    assert not any("dirty-bitmaps" in vm.nodes[disk] for disk in DISKS)
    assert world.backup("full") == ""
    world.check()


def test_a_flush_that_fails_at_the_end(world: World, vm: qmpd.Machine) -> None:
    """What was copied may be lost with the host's cache, so there is no such point."""
    world.write("disk0", 0, MIB, 1)
    with vm.faults.fail("flush", node=TARGET, errno="EIO", later=True) as fault:
        words = world.backup("full")
    assert fault.hits > 0
    assert "Input/output error" in words
    assert world.points() == []
    assert world.backup("full") == ""
    world.check()


@pytest.mark.parametrize("operation", ["create", "open"])
def test_an_image_that_cannot_be_made(world: World, vm: qmpd.Machine, operation: str) -> None:
    file = str(world.directory / "disk1-*.qcow2")
    with vm.faults.fail(operation, file=file, errno="EACCES", later=True) as fault:
        words = world.backup("full")
    assert fault.hits > 0
    assert "Permission denied" in words
    assert world.points() == []
    assert not any(name.startswith("vmbackup") for name in vm.nodes)
    assert world.backup("full") == ""
    world.check()
