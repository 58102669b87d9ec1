"""The power is lost at every write and every flush; what the manifest promises is there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import pytest
from manifest import Manifest
from world import IMAGES, KIB, MIB, QmpdGuest, World

import qmpd
from qmpd.testing import every_power_loss


@dataclass(frozen=True)
class Reached:
    """A manifest that was saved, and what the disks held at each point."""

    manifest: str
    then: dict[int, dict[str, bytes]]


@pytest.mark.parametrize("runs", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_power_lost_at_every_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: int
) -> None:
    actions = ("full", "inc", "inc", "full", "inc")[:runs]
    saved: SimpleQueue[str | None] = SimpleQueue()
    go_on: SimpleQueue[None] = SimpleQueue()
    save = Manifest.save

    def save_and_stop(manifest: Manifest, directory: Path) -> None:
        """From this moment on the manifest has to be true: the scenario says so before all else."""
        save(manifest, directory)
        saved.put((directory / "manifest.json").read_text())
        go_on.get()

    monkeypatch.setattr(Manifest, "save", save_and_stop)

    def scenario(vm: qmpd.Machine) -> Iterator[Reached]:
        with vm.serve() as path, ThreadPoolExecutor() as threads:
            world = World(path, QmpdGuest(vm), tmp_path)
            for number, action in enumerate(actions):
                world.write("disk0", number % 4 * MIB, 100 * KIB, 1 + number)
                world.write("disk1", 64 * KIB, 10 * KIB, 1 + number)
                run = threads.submit(world.backup, action)
                run.add_done_callback(lambda run: saved.put(None))
                while (manifest := saved.get()) is not None:
                    yield Reached(manifest, dict(world.then))
                    go_on.put(None)
                assert run.result() == ""

    def check(vm: qmpd.Machine, reached: Reached | None) -> None:
        if reached is not None:
            (tmp_path / "manifest.json").write_text(reached.manifest)
            world = World("", QmpdGuest(vm), tmp_path)
            world.then = reached.then
            world.check_images()

    assert every_power_loss(scenario, check, images=IMAGES) > 40 * runs
