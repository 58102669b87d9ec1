"""What the tool says when it cannot do what it is asked for, and that it has changed nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifest import locked
from world import IMAGES, QmpdGuest, World

import qmpd

pytestmark = pytest.mark.qmpd(images=IMAGES)


def test_nothing_to_add_to(world: World) -> None:
    assert world.backup("inc") == "vmbackup: no point; there are none: make a full backup"


def test_a_point_that_there_is_not(world: World) -> None:
    world.backup("full")
    words = world.run("restore", world.path, str(world.directory), "target", "--point", "7")
    assert words == "vmbackup: no point 7; there are 0"


def test_a_disk_that_there_is_not(world: World) -> None:
    words = world.run("full", world.path, str(world.directory), "--disk", "sda")
    assert words.startswith("vmbackup: there is no disk sda; there are disk")
    assert world.points() == []


def test_no_machine(vm: qmpd.Machine, tmp_path: Path) -> None:
    words = World(f"{tmp_path}/none.sock", QmpdGuest(vm), tmp_path).backup("full")
    assert "none.sock" in words
    assert "No such file or directory" in words


def test_a_damaged_manifest(world: World) -> None:
    world.backup("full")
    (world.directory / "manifest.json").write_text('{"id": ')
    words = world.run("inc", world.path, str(world.directory))
    assert "manifest.json is damaged" in words
    assert words.endswith("use another directory")


def test_two_at_once(world: World) -> None:
    with locked(world.directory):
        assert world.backup("full").endswith("is in use by another backup")


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("block-dirty-bitmap-remove", "is gone: the machine was restarted, or has crashed"),
        ("block-dirty-bitmap-disable", "has been switched off"),
    ],
)
def test_another_program_meddles(
    world: World, vm: qmpd.Machine, command: str, problem: str
) -> None:
    world.backup("full")
    (bitmap,) = vm.nodes["disk1"]["dirty-bitmaps"]
    vm.cmd(command, node="disk1", name=bitmap["name"])
    record = "the record of what has changed since point 0"
    assert world.backup("inc") == f"vmbackup: disk1: {record} {problem}; make a full backup"
    assert world.backup("full") == ""
    assert world.backup("inc") == ""
    world.check()
