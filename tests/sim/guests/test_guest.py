"""What a guest does with its machine, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import qmpd
from qmpd import aio, errors


@pytest.fixture
def vm() -> Iterator[qmpd.Machine]:
    """A machine with a board, whose clock is held."""
    with qmpd.Machine(board="pc", clock="held", disks={"disk0": "1M"}) as machine:
        yield machine


def told(vm: qmpd.Machine) -> list[tuple[str, Any]]:
    """The events that have come: names and data."""
    return [(event["event"], event.get("data")) for event in vm.get_qmp_events()]


def status(vm: qmpd.Machine) -> str:
    """What query-status says."""
    return str(vm.cmd("query-status")["status"])


# What it does


def test_shutdown(vm: qmpd.Machine) -> None:
    vm.guest.shutdown()
    assert told(vm) == [("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"})]
    assert vm.closed


def test_shutdown_of_a_machine_that_is_kept(vm: qmpd.Machine) -> None:
    vm.guest.actions(shutdown="pause")
    vm.guest.shutdown()
    assert told(vm) == [
        ("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"}),
        ("STOP", None),
    ]
    assert status(vm) == "shutdown"
    with pytest.raises(errors.GenericError, match="Resetting the Virtual Machine is required"):
        vm.cmd("cont")
    vm.cmd("system_reset")
    assert told(vm) == [("RESET", {"guest": False, "reason": "host-qmp-system-reset"})]
    assert status(vm) == "prelaunch"
    vm.cmd("cont")
    assert status(vm) == "running"


def test_reboot(vm: qmpd.Machine) -> None:
    vm.guest.reboot()
    assert told(vm) == [("RESET", {"guest": True, "reason": "guest-reset"})]
    assert status(vm) == "running"


def test_reboot_of_a_machine_that_may_not(vm: qmpd.Machine) -> None:
    vm.guest.actions(reboot="shutdown")
    vm.guest.reboot()
    assert told(vm) == [("SHUTDOWN", {"guest": True, "reason": "guest-reset"})]
    assert vm.closed


def test_a_reset_from_outside_of_a_machine_that_may_not(vm: qmpd.Machine) -> None:
    vm.guest.actions(reboot="shutdown", shutdown="pause")
    vm.cmd("system_reset")
    assert told(vm) == [
        ("SHUTDOWN", {"guest": False, "reason": "host-qmp-system-reset"}),
        ("STOP", None),
    ]


PANICS = [
    ({}, [("GUEST_PANICKED", {"action": "poweroff"})], "gone"),
    ({"panic": "none"}, [("GUEST_PANICKED", {"action": "run"})], "running"),
    (
        {"panic": "pause"},
        [("GUEST_PANICKED", {"action": "pause"}), ("STOP", None)],
        "guest-panicked",
    ),
    (
        {"shutdown": "pause"},
        [("GUEST_PANICKED", {"action": "pause"}), ("STOP", None)],
        "guest-panicked",
    ),
]


@pytest.mark.parametrize(("actions", "events", "state"), PANICS)
def test_panic(vm: qmpd.Machine, actions: Any, events: Any, state: str) -> None:
    vm.guest.actions(**actions)
    vm.guest.panic()
    if state == "gone":
        assert told(vm) == [*events, ("SHUTDOWN", {"guest": True, "reason": "guest-panic"})]
        assert vm.closed
        return
    assert told(vm) == events
    assert status(vm) == state
    if state != "running":
        vm.cmd("cont")
        assert status(vm) == "running"


def test_a_guest_that_is_stopped_does_nothing(vm: qmpd.Machine) -> None:
    vm.cmd("stop")
    for act in (vm.guest.shutdown, vm.guest.reboot, vm.guest.panic):
        with pytest.raises(errors.GenericError, match="does not run: its state is 'paused'"):
            act()


# What it answers


def test_a_guest_that_ignores_the_power_button(vm: qmpd.Machine) -> None:
    vm.cmd("system_powerdown")
    vm.clock.advance(1000)
    assert told(vm) == [("POWERDOWN", None)]


@pytest.mark.parametrize("human", [False, True])
def test_a_guest_that_takes_its_time(vm: qmpd.Machine, *, human: bool) -> None:
    vm.guest.on_powerdown("shutdown", delay=30)
    if human:
        vm.hmp("system_powerdown")
    else:
        vm.cmd("system_powerdown")
    vm.clock.advance(29)
    assert told(vm) == [("POWERDOWN", None)]
    vm.clock.advance(2)
    assert told(vm) == [("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"})]
    assert vm.closed


def test_a_stopped_guest_answers_when_it_goes_on(vm: qmpd.Machine) -> None:
    vm.guest.on_powerdown("shutdown")
    vm.cmd("stop")
    vm.cmd("system_powerdown")
    assert told(vm) == [("STOP", None), ("POWERDOWN", None)]
    vm.cmd("cont")
    assert [name for name, _ in told(vm)] == ["RESUME", "SHUTDOWN"]


def plug(vm: qmpd.Machine, *names: str) -> None:
    """Plug in disks of that name."""
    for name in names:
        vm.cmd("blockdev-add", {"driver": "null-co", "node-name": f"n-{name}", "size": 1 << 20})
        vm.cmd("device_add", driver="virtio-blk-pci", id=name, drive=f"n-{name}")


def test_a_device_that_the_guest_lets_go(vm: qmpd.Machine) -> None:
    plug(vm, "d0", "d1")
    vm.guest.on_unplug("eject", device="d*", delay=2)
    vm.guest.on_unplug("ignore", device="d1")
    vm.cmd("device_del", id="d0")
    vm.cmd("device_del", id="d1")
    vm.clock.advance(1.9)
    assert told(vm) == []
    with pytest.raises(errors.GenericError, match="already in the process of unplug"):
        vm.cmd("device_del", id="d0")
    vm.clock.advance(0.2)
    virtio = "/machine/peripheral/d0/virtio-backend"
    assert told(vm) == [
        ("DEVICE_DELETED", {"path": virtio}),
        ("DEVICE_DELETED", {"device": "d0", "path": "/machine/peripheral/d0"}),
    ]
    vm.cmd("blockdev-del", node_name="n-d0")
    vm.clock.advance(1000)
    assert told(vm) == []


def test_a_device_that_the_guest_keeps(vm: qmpd.Machine) -> None:
    plug(vm, "d0")
    vm.guest.on_unplug("refuse")
    vm.cmd("device_del", id="d0")
    data = {"device": "d0", "path": "/machine/peripheral/d0"}
    assert told(vm) == [("DEVICE_UNPLUG_GUEST_ERROR", data)]
    vm.guest.on_unplug("eject")
    vm.cmd("device_del", id="d0")
    assert told(vm)[-1] == ("DEVICE_DELETED", data)


def test_a_reset_is_quicker_than_the_guest(vm: qmpd.Machine) -> None:
    plug(vm, "d0")
    vm.guest.on_unplug("eject", delay=10)
    vm.cmd("device_del", id="d0")
    vm.guest.reboot()
    vm.clock.advance(1)
    assert [name for name, _ in told(vm)] == ["RESET", "DEVICE_DELETED", "DEVICE_DELETED"]
    vm.clock.advance(100)
    assert told(vm) == []


def test_the_guest_stays_when_the_machine_is_another(vm: qmpd.Machine) -> None:
    vm.guest.on_powerdown("shutdown")
    vm.guest.actions(shutdown="pause")
    vm.reset()
    vm.cmd("system_powerdown")
    assert [name for name, _ in told(vm)] == ["POWERDOWN", "SHUTDOWN", "STOP"]
    mark = vm.checkpoint()
    vm.cmd("system_reset")
    vm.restore(mark)
    assert status(vm) == "shutdown"


def test_the_journal_tells_of_it(vm: qmpd.Machine) -> None:
    vm.guest.reboot()
    (entry,) = vm.journal.filter("guest")
    assert entry.data == {"operation": "reboot"}


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda guest: guest.on_powerdown("dance"), "one of 'ignore', 'shutdown'"),
        (lambda guest: guest.on_unplug("dance"), "one of 'ignore', 'eject', 'refuse'"),
        (lambda guest: guest.on_unplug("eject", delay=-1), "not to be negative"),
        (lambda guest: guest.actions(panic="dance"), "there is no panic action 'dance'"),
    ],
)
def test_bad_use(vm: qmpd.Machine, call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call(vm.guest)


def test_boards() -> None:
    wrong: dict[str, Any] = {"board": "pdp11"}
    with pytest.raises(ValueError, match="no board 'pdp11'; it is one of 'none', 'pc', 'q35'"):
        qmpd.Machine(**wrong)
    with (
        qmpd.Machine(board="q35") as vm,
        pytest.raises(errors.GenericError, match=r"'pcie.0' does not support hotplugging"),
    ):
        vm.cmd("device_add", driver="virtio-scsi-pci")


async def test_on_a_loop() -> None:
    async with aio.Machine(board="pc") as vm:
        vm.guest.on_powerdown("shutdown", delay=3)
        vm.guest.actions(shutdown="pause")
        await vm.cmd("system_powerdown")
        event = await vm.event_wait("SHUTDOWN")
        assert event is not None
        assert vm.clock.now == 3
        await vm.cmd("system_reset")
        await vm.cmd("cont")
        await vm.guest.reboot()
        await vm.guest.panic()
        assert (await vm.cmd("query-status"))["status"] == "guest-panicked"
