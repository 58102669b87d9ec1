"""The same backups in fifty orders of events, with a guest that writes meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from world import IMAGES, KIB, MIB, SIZE, World, wait_for_copy

import qmpd


@pytest.mark.qmpd(images=IMAGES, clock="held", schedules=50)
def test_in_every_order(world: World, vm: qmpd.Machine) -> None:
    world.write("disk0", 0, MIB, 1)
    assert world.backup("full") == ""
    world.write("disk0", 0, 2 * MIB, 2)
    vm.pace("disk0", bytes_per_second=64 * MIB)
    with ThreadPoolExecutor() as threads:
        client = threads.submit(world.backup, "inc")
        wait_for_copy(vm)
        guest = vm.disk("disk0").workload(seed=1, writes=40, size=4 * KIB, interval=0.001)
        vm.clock.advance(1)
        assert guest.done
        assert client.result() == ""
    vm.pace("disk0")  # as quick as before
    world.check_images()
    world.now["disk0"][:] = vm.disk("disk0").read(0, SIZE)
    assert world.backup("inc") == ""  # what the guest has written during the one before
    assert world.points() == [0, 1, 2]
    world.check_images()
