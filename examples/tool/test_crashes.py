"""The client, the connection or the host goes down during a backup; the next run goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest
import vmbackup
from test_faults import TARGET
from world import DISKS, IMAGES, KIB, MIB, SIZE, World, wait_for_copy

import qmpd

pytestmark = pytest.mark.qmpd(images=IMAGES)

HELD = pytest.mark.qmpd(clock="held")
"""A copy does not get on by itself: time stands still."""


def start(world: World, action: str) -> subprocess.Popen[bytes]:
    """Start the tool in a process of its own."""
    argv = [sys.executable, vmbackup.__file__, action, world.path, str(world.directory)]
    return subprocess.Popen(argv, stderr=subprocess.PIPE)


def begin(world: World, vm: qmpd.Machine) -> subprocess.Popen[bytes]:
    """Make a full backup, and start an incremental one that stands still in the midst of it."""
    world.write("disk0", 0, MIB, 1)
    assert world.backup("full") == ""
    world.write("disk0", 0, MIB, 2)
    vm.faults.fail("pwrite", node=TARGET, delay=1000, later=True)
    client = start(world, "inc")
    wait_for_copy(vm)
    return client


@HELD
def test_the_client_is_killed_during_the_copy(world: World, vm: qmpd.Machine) -> None:
    client = begin(world, vm)
    client.send_signal(signal.SIGKILL)
    client.communicate()
    assert len(vm.cmd("query-jobs")) == 2  # the machine goes on with them
    world.write("disk0", 2 * MIB, MIB, 3)
    vm.clock.advance(1000)
    world.write("disk0", 512 * KIB, MIB, 4)
    vm.faults.clear()
    assert world.backup("inc") == ""
    assert world.points() == [0, 1]
    world.check()


@HELD
def test_the_host_goes_down_during_the_copy(world: World, vm: qmpd.Machine) -> None:
    client = begin(world, vm)
    vm.crash()
    words = client.communicate()[1].decode()
    assert words.startswith("vmbackup: no connection to ")
    assert client.returncode == 1
    vm.faults.clear()
    vm.restart()
    record = "the record of what has changed since point 0"
    problem = "is gone: the machine was restarted, or has crashed"
    assert world.backup("inc") == f"vmbackup: disk0: {record} {problem}; make a full backup"
    assert world.points() == [0]
    for disk in DISKS:  # what was not flushed may be lost, for the guest as well
        world.now[disk][:] = vm.disk(disk).read(0, SIZE)
    assert world.backup("full") == ""
    assert world.backup("inc") == ""
    world.check()


def test_a_bitmap_in_use_after_a_crash(world: World, vm: qmpd.Machine) -> None:
    assert world.backup("full") == ""
    vm.restart()  # stores the bitmap; from now on it is marked as in use
    vm.crash()
    vm.restart()
    assert "cannot be trusted, since the machine has crashed" in world.backup("inc")
    assert world.backup("full") == ""


def test_the_machine_is_restarted_between_backups(world: World, vm: qmpd.Machine) -> None:
    world.write("disk0", 0, MIB, 1)
    assert world.backup("full") == ""
    world.write("disk0", 0, 64 * KIB, 2)
    vm.restart()  # the bitmaps are in the images
    world.write("disk1", 0, 64 * KIB, 3)
    assert world.backup("inc") == ""
    world.check()


@pytest.mark.qmpd(allow="faults")  # the last one is beyond the last message
@pytest.mark.parametrize("action", ["cut-before", "cut-within", "cut-after"])
@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.long)])
def test_the_connection_is_lost(world: World, vm: qmpd.Machine, action: str, step: int) -> None:
    """At every message of the beginning, at some of the others, and then the tool is run again."""
    world.write("disk0", 0, MIB, 1)
    assert world.backup("full") == ""
    for message in [*range(1, 5), *range(5, 1000, step)]:
        world.write("disk0", 0, 64 * KIB, message % 255)
        with vm.faults.connection(action, message=message) as fault:
            words = world.backup("inc")
        if not fault.hits:
            assert words == ""
            break
        assert words == "" or words.startswith(f"vmbackup: no connection to {world.path}")
        world.write("disk0", MIB, 64 * KIB, message % 255)
        assert world.backup("inc") == ""
    assert message > 50
    world.check()


def test_the_answer_to_the_transaction_is_lost(world: World, vm: qmpd.Machine) -> None:
    """The jobs run, and nobody has told so."""
    assert world.backup("full") == ""
    world.write("disk0", 0, 64 * KIB, 1)
    vm.get_qmp_events()
    with vm.faults.command("transaction", nth=2, lose_answer=True):
        client = start(world, "inc")
        vm.event_wait("BLOCK_JOB_COMPLETED", timeout=None)
        client.kill()
        client.communicate()
    assert world.backup("inc") == ""
    world.check()


@pytest.mark.parametrize(
    ("action", "how"),
    [
        ("slice", {"size": 1}),
        ("slice", {"size": 7}),
        ("delay", {"seconds": 0.01}),
        ("late", {"event": "JOB_STATUS_CHANGE"}),
        ("duplicate", {"event": "JOB_STATUS_CHANGE"}),
    ],
)
def test_a_line_that_is_only_odd(
    world: World, vm: qmpd.Machine, action: str, how: dict[str, Any]
) -> None:
    world.write("disk0", 0, MIB, 1)
    with vm.faults.connection(action, **how):
        assert world.backup("full") == ""
        world.write("disk0", 0, 64 * KIB, 2)
        assert world.backup("inc") == ""
    world.check()
