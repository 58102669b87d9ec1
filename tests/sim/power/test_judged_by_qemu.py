"""What a loss of power has left of images, judged by qemu-img: as it is, and once it was opened."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

import qmpd
from qmpd.block.images.memory import MemoryFile
from qmpd.testing import every_power_loss
from tests.sim.power.promises import Promise
from tests.sim.power.scenarios import OPTIONS, PATH, SCENARIOS, Q, losses
from tests.support.programs import qemu_missing

EVERY = 17
"""Of so many losses one is judged."""

LEAKS = 3
"""The status of ``qemu-img check`` that has found leaked clusters, and no errors."""

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))


def judge(file: MemoryFile, path: Path) -> None:
    """Have qemu-img look at a file."""
    path.write_bytes(file.read(0, file.length))
    command = ["qemu-img", "check", "-f", "qcow2", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, LEAKS), done.stdout + done.stderr


@pytest.mark.parametrize(
    "name",
    ["writes, lazy", "discards, plain", "small caches, extended", "shrink, plain", "mixed"],
)
def test_images_are_clean(name: str, tmp_path: Path) -> None:
    scenario, options = SCENARIOS[name]
    images: Any = {"q": {**Q, **OPTIONS[options]}}
    looks = 0

    def check(vm: qmpd.Machine, _: Promise | None) -> None:
        nonlocal looks
        looks += 1
        if looks % EVERY:
            return
        vm.close()
        judge(vm._core.files()[PATH], tmp_path / "image")

    every_power_loss(scenario, check, images=images)
    assert looks > EVERY


@pytest.mark.parametrize(
    "name",
    ["internal snapshots, plain", "go back, tiny", "go back, resized", "emptied", "bitmaps, plain"],
)
def test_images_need_no_repair(name: str, tmp_path: Path) -> None:
    for number, (promise, files) in enumerate(losses(name)):
        if number % EVERY == 0 and promise is not None:
            judge(files[PATH], tmp_path / "image")
