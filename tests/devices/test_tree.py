"""The tree of devices without a real QEMU: numbers of the board, time, values of properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.errors import DeviceNotFound, GenericError
from qmpd.loop.rcu import LOOK, LOOKS
from qmpd.machine.devices.board import Board
from qmpd.machine.devices.device import Device
from qmpd.machine.devices.kinds import KINDS
from qmpd.machine.devices.properties import UNSIGNED, Form, read_property
from qmpd.profile import load
from tests.support.machines import TestMachine

PC = Board("pc", "pc-i440fx-10.0", cpus=1)
MOUSE = Device(KINDS["usb-mouse"], None, "/mouse", load().devices)


@pytest.mark.parametrize(
    ("board", "drives", "ide", "floppy"),
    [
        (PC, (1, 0), 4, 11),
        (Board("pc", cpus=2), (2, 1), 5, 13),
        (Board("pc", cpus=1, vga="VGA", adapters=1, serials=(0,), parallels=("p",)), (1, 1), 4, 14),
        (Board("q35", cpus=1), (1, 0), 13, 8),
        (Board("q35", cpus=1), (2, 1), 15, 9),
        (Board("q35", cpus=1, serials=(0,), parallels=("p",), hpet=False), (1, 0), 14, 9),
    ],
)
def test_numbers_of_board_devices(
    board: Board, drives: tuple[int, int], ide: int, floppy: int
) -> None:
    numbers = board.numbers(*drives, load().rules)
    assert (numbers["ide"], numbers["floppy"]) == (ide, floppy)


@pytest.fixture
def machine() -> TestMachine:
    machine = TestMachine(board=PC)
    machine.machine.creation_done = True
    machine.execute("blockdev-add", driver="null-co", node_name="n", size=1 << 20)
    machine.execute("device_add", driver="virtio-scsi-pci", id="s")
    return machine


def test_a_disk_is_unplugged_a_while_after_its_name_is_free(machine: TestMachine) -> None:
    machine.execute("device_add", driver="scsi-hd", id="h", drive="n")
    machine.execute("device_del", id="h")
    with pytest.raises(DeviceNotFound):
        machine.execute("device_del", id="h")
    assert machine.execute("query-block")
    machine.clock.advance(LOOKS * LOOK - 1)
    assert machine.events == []
    machine.clock.advance(1)
    data = {"device": "h", "path": "/machine/peripheral/h"}
    assert machine.events == [("DEVICE_DELETED", data)]
    assert machine.execute("query-block") == []


def test_a_pci_device_goes_at_a_reset_and_takes_what_is_on_it(machine: TestMachine) -> None:
    machine.execute("device_add", driver="scsi-cd", id="c")
    machine.execute("device_del", id="s")
    machine.clock.advance(10 * LOOKS * LOOK)
    assert machine.events == []
    machine.execute("system_reset")
    machine.clock.advance(LOOKS * LOOK)
    paths = [data["path"] for name, data in machine.events if name == "DEVICE_DELETED"]
    assert paths == [f"/machine/peripheral/{part}" for part in ("c", "s/virtio-backend", "s")]


def test_a_refused_device_leaves_nothing(machine: TestMachine) -> None:
    with pytest.raises(GenericError, match="bad scsi device lun"):
        machine.execute("device_add", driver="scsi-hd", id="h", drive="n", lun=99999)
    assert machine.execute("query-block") == []
    machine.execute("blockdev-del", node_name="n")
    with pytest.raises(DeviceNotFound):
        machine.execute("qom-get", path="/machine/peripheral/h", property="type")


@given(slot=st.integers(0, 31), function=st.integers(0, 7))
def test_addresses_are_read_as_they_are_told(slot: int, function: int) -> None:
    for text in (f"{slot:x}.{function:x}", f"0x{slot:x}.0x{function:x}"):
        value = read_property(MOUSE, "addr", "str", text, Form.OPTION, load().rules)
        assert divmod(value, 8) == (slot, function)


@given(kind=st.sampled_from(sorted(UNSIGNED)), value=st.integers(-(1 << 63), (1 << 64) - 1))
def test_unsigned_values_stay_in_their_bits(kind: str, value: int) -> None:
    bits = UNSIGNED[kind]
    for given_value, form in ((value, Form.JSON), (str(value), Form.OPTION)):
        try:
            read = read_property(MOUSE, "p", kind, given_value, form, load().rules)
        except GenericError:
            assert value < 0 or value >> bits
        else:
            assert 0 <= read < 1 << bits
            assert read == value % (1 << bits)
