"""What the tool promises when all goes well, on qmpd and on a real QEMU."""

from __future__ import annotations

import pytest
from world import DISKS, IMAGES, KIB, MIB, World

import qmpd

pytestmark = pytest.mark.qmpd(images=IMAGES)


def test_every_point_restores(any_world: World) -> None:
    world = any_world
    world.write("disk0", 0, 300 * KIB, 1)
    world.write("disk1", 2 * MIB, 100 * KIB, 2)
    assert world.backup("full") == ""
    world.write("disk0", 64 * KIB, 10 * KIB, 3)
    world.write("disk0", 3 * MIB, MIB, 4)
    assert world.backup("inc") == ""
    assert world.backup("inc") == ""  # nothing has changed
    world.write("disk1", 0, 1, 5)
    assert world.backup("inc") == ""
    world.write("disk1", 0, 1, 6)
    assert world.points() == [0, 1, 2, 3]
    world.check()


def test_a_second_chain(any_world: World) -> None:
    world = any_world
    for action in ("full", "inc", "full", "inc"):
        world.write("disk0", MIB, 64 * KIB, 1 + len(world.then))
        assert world.backup(action) == ""
    world.check()


def test_an_incremental_backup_copies_what_has_changed(world: World, vm: qmpd.Machine) -> None:
    world.write("disk0", 0, 4 * MIB, 1)
    world.backup("full")
    world.write("disk0", MIB, 1, 2)
    vm.get_qmp_events()
    world.backup("inc")
    events = [event["data"] for event in vm.get_qmp_events() if "BLOCK_JOB" in event["event"]]
    copied = {event["device"].rpartition("-")[2]: event["len"] for event in events}
    assert copied == {"0": 64 * KIB, "1": 0}


def test_it_leaves_nothing_in_the_machine_but_a_bitmap(world: World, vm: qmpd.Machine) -> None:
    nodes = set(vm.nodes)
    for action in ("full", "inc", "inc"):
        assert world.backup(action) == ""
        assert set(vm.nodes) == nodes
        assert vm.cmd("query-jobs") == []
        for disk in DISKS:
            (bitmap,) = vm.nodes[disk]["dirty-bitmaps"]
            assert bitmap["name"].endswith(f"-{world.points()[-1]}")
