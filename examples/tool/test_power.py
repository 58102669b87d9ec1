"""The power is lost at every write and every flush; what the manifest promises is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from world import IMAGES, KIB, MIB, QmpdGuest, World

import qmpd
from qmpd.testing import every_power_loss


@dataclass(frozen=True)
class Reached:
    """What the tool had finished: its manifest, and what the disks held at each point."""

    manifest: str
    then: dict[int, dict[str, bytes]]


@pytest.mark.parametrize("runs", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_power_lost_at_every_write(tmp_path: Path, runs: int) -> None:
    actions = ("full", "inc", "inc", "full", "inc")[:runs]

    def scenario(vm: qmpd.Machine) -> Iterator[Reached]:
        with vm.serve() as path:
            world = World(path, QmpdGuest(vm), tmp_path)
            for number, action in enumerate(actions):
                world.write("disk0", number % 4 * MIB, 100 * KIB, 1 + number)
                world.write("disk1", 64 * KIB, 10 * KIB, 1 + number)
                assert world.backup(action) == ""
                yield Reached((tmp_path / "manifest.json").read_text(), dict(world.then))

    def check(vm: qmpd.Machine, reached: Reached | None) -> None:
        if reached is None:
            return
        (tmp_path / "manifest.json").write_text(reached.manifest)
        world = World("", QmpdGuest(vm), tmp_path)
        world.then = reached.then
        world.check_images()

    assert every_power_loss(scenario, check, images=IMAGES) > 40 * runs
