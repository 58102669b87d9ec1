"""qmpd's qcow2 loses its power at every write and at every flush of many scenarios.

At no point may anything be lost that was flushed, or an image be corrupt.  Leaked clusters may be.
"""

from __future__ import annotations

from typing import Any

import pytest

import qmpd
from qmpd.api.setup import Setup
from qmpd.block.drivers.formats.qcow2.driver import Qcow2
from qmpd.block.drivers.formats.qcow2.repair.check import check
from qmpd.testing import every_power_loss
from tests.sim.power.promises import SIZE, Promise
from tests.sim.power.scenarios import (
    OPTIONS,
    PATH,
    SCENARIOS,
    SECTOR,
    Q,
    image,
    losses,
)


def clean(vm: qmpd.Machine, name: str) -> None:
    """Check that an image that is open has no errors but leaks."""
    node = vm._core.machine.graph.find_node(name)
    assert node is not None
    driver = node.driver
    assert isinstance(driver, Qcow2)
    result = vm._driver.run(check(driver.state, fix=False), "a check")
    assert (result.corruptions, result.check_errors) == (0, 0), (name, result)


def kept(name: str, found: bytes, versions: tuple[bytes, ...], step: int = SECTOR) -> None:
    """Check that each sector has one of the versions that it may have."""
    block = 32768
    doubtful = [
        start
        for large in range(0, SIZE, block)
        if not any(v[large : large + block] == found[large : large + block] for v in versions)
        for start in range(large, large + block, step)
    ]
    for start in doubtful:
        sector = found[start : start + step]
        allowed = {version[start : start + step] for version in versions}
        assert sector in allowed, (
            f"{name} at {start}: {sector[:1]!r}, not one of {[a[:1] for a in allowed]}"
        )


def torn(vm: qmpd.Machine, promise: Promise | None) -> None:
    """Check what is left where sectors are torn."""
    left(vm, promise, 8)


def left(vm: qmpd.Machine, promise: Promise | None, step: int = SECTOR) -> None:
    """Check what is left.

    :param step: bytes that are written at once
    """
    if promise is None:
        promise = Promise()
    bitmaps(vm)
    for path in promise.opens:
        below = {"backing": "q", "read-only": True} if "over" in path else {}
        vm.cmd("blockdev-add", image(path, **{"node-name": "x", **below}))
        clean(vm, "x")
        if path in promise.contents:
            kept(path, vm.disk("x").read(0, SIZE), promise.contents[path], step)
        vm.cmd("blockdev-del", node_name="x")
    clean(vm, "q")
    kept("q", content(vm), promise.contents.get("q", (bytes(SIZE),)), step)


def content(vm: qmpd.Machine) -> bytes:
    """What the disk has; zeroes where it ends early."""
    disk = vm.disk("q")
    size = min(disk.size, SIZE)
    return disk.read(0, size) + bytes(SIZE - size)


def bitmaps(vm: qmpd.Machine) -> None:
    """Check that bitmaps that are consistent have everything that was written."""
    found = content(vm)
    for info in vm.nodes["q"].get("dirty-bitmaps", []):
        bitmap = vm.bitmap("q", info["name"])
        if bitmap.inconsistent or bitmap.name == "late":
            continue
        dirty = bytearray(SIZE // SECTOR)
        for offset, length in bitmap.extents:
            for sector in range(offset // SECTOR, (offset + length) // SECTOR):
                if sector < len(dirty):
                    dirty[sector] = 1
        for sector, is_dirty in enumerate(dirty):
            assert is_dirty or not any(found[sector * SECTOR : (sector + 1) * SECTOR])


_RARE = ("large", "old", "one bit", "64 bits", "reserved")
LONG = (
    *("many bitmaps, tiny", "internal snapshots, tiny", "zeroes, tiny"),
    *(name for name in SCENARIOS if name.endswith(_RARE) and not name.startswith("writes")),
)
"""What others do as well, with larger clusters or other images; writes come with all of them."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in SCENARIOS],
)
def test_no_point_loses_or_corrupts(name: str) -> None:
    scenario, options = SCENARIOS[name]
    images: Any = {"q": {**Q, **OPTIONS[options]}}
    every_power_loss(scenario, left, images=images, keep=("flushed", "random", "all"))


LAZY = ("lazy", "amended")
"""What scenarios are called whose refcounts are not right until somebody repairs them."""
NOT_LAZY = [name for name in SCENARIOS if not any(word in name for word in LAZY)]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if SCENARIOS[name][1] == "plain" else pytest.mark.long)
        for name in NOT_LAZY
    ],
)
def test_no_point_needs_a_repair(name: str) -> None:
    for promise, files in losses(name):
        paths = {PATH, *(promise.opens if promise is not None else ())}
        with qmpd.Machine._on(Setup(power=True), files) as vm:
            for path in paths:
                below = {"backing": None} if "over" in path else {}
                options = {"node-name": "x", "read-only": True, **below}
                vm.cmd("blockdev-add", image(path, **options))
                clean(vm, "x")
                vm.cmd("blockdev-del", node_name="x")


def test_there_are_fifty() -> None:
    assert len(SCENARIOS) >= 50
