"""The same backups in fifty orders of events, with a guest that writes meanwhile."""

from __future__ import annotations

import pytest
from world import IMAGES, KIB, MIB, SIZE, World

import qmpd


@pytest.mark.qmpd(images=IMAGES, schedules=50)
def test_in_every_order(world: World, vm: qmpd.Machine) -> None:
    world.write("disk0", 0, MIB, 1)
    assert world.backup("full") == ""
    world.write("disk0", 0, 2 * MIB, 2)
    guest = vm.disk("disk0").workload(seed=1, writes=40, size=4 * KIB, interval=0.001)
    vm.pace("disk0", bytes_per_second=64 * MIB)  # so that the guest writes during the copy
    assert world.backup("inc") == ""
    guest.wait()
    world.now["disk0"][:] = vm.disk("disk0").read(0, SIZE)
    assert world.backup("inc") == ""  # what came during the one before and after it, all of it
    del world.then[1]
    assert world.points() == [0, 1, 2]
    world.check_images()
