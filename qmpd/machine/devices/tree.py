"""All devices of a machine: plugging, unplugging and finding them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.identifiers import check_device_id
from qmpd.base.qdict import QDict
from qmpd.errors import GenericError
from qmpd.loop.rcu import MANY, Rcu
from qmpd.machine.devices import drives, places, unplug
from qmpd.machine.devices.access import set_property
from qmpd.machine.devices.board import (
    PERIPHERAL,
    PERIPHERAL_ANON,
    UNATTACHED,
)
from qmpd.machine.devices.board_buses import build
from qmpd.machine.devices.bus import bus_at, buses_below
from qmpd.machine.devices.containers import DeviceContainers
from qmpd.machine.devices.device import Bus, Device
from qmpd.machine.devices.kinds import KINDS
from qmpd.machine.devices.new_device import model_and_bus
from qmpd.machine.devices.option_rom import add_option_rom
from qmpd.machine.devices.places import give_usb_port_back
from qmpd.machine.devices.properties import Form
from qmpd.machine.devices.realize import realize
from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.machine.devices.board import Board
    from qmpd.machine.devices.chassis import Chassis
    from qmpd.machine.devices.globals import CompatProperties, Globals
    from qmpd.machine.devices.inputs import Inputs
    from qmpd.machine.devices.processors import Processors
    from qmpd.profile.rules import Rules


class DeviceTree(DeviceContainers):
    """The devices of a machine.

    :param chassis: the machine
    :param board: its hardware from the start
    """

    def __init__(self, chassis: Chassis, board: Board) -> None:
        super().__init__(chassis)
        self._tables = chassis.profile.devices
        self.board = board
        self._drives = (0, 0)
        self.root = build(board, *self._drives, self._rules)
        self.netdevs: set[str] = set()
        """The ids of network backends, which lead nowhere."""
        self.globals: Globals | None = None
        """What ``-global`` says, where there is any."""
        self._held: set[str] = set()
        """The ids of devices that have been unplugged and have not ended."""
        self._anonymous_made = 0
        self._usb_buses = 0
        self._subsystems = 0
        self._bus_numbers: dict[str, int] = {}

    @property
    def _rules(self) -> Rules:
        return self.chassis.profile.rules

    @cached_property
    def _rcu(self) -> Rcu:
        return Rcu(self.chassis.graph.services.loop)

    @cached_property
    def _compat(self) -> CompatProperties:
        from qmpd.machine.devices.globals import CompatProperties

        return CompatProperties(self.board.model, self.chassis.profile)

    @cached_property
    def inputs(self) -> Inputs:
        """Those that take what is typed and pointed at."""
        from qmpd.machine.devices.inputs import Inputs

        has_ps2 = self.board.type != "none" and self.board.model != "microvm"
        return Inputs(has_ps2=has_ps2)

    @cached_property
    def processors(self) -> Processors:
        """The processors of the board."""
        from qmpd.machine.devices.processors import Processors

        return Processors(self.board, self.chassis.profile)

    @property
    def board_adapters(self) -> int:
        """How many network adapters the board has."""
        return self.board.adapters

    def count_usb_bus(self) -> int:
        """The number of a new USB bus."""
        self._usb_buses += 1
        return self._usb_buses - 1

    def new_subsystem(self) -> str:
        """The path of a subsystem that an NVMe controller makes; it stays when that goes."""
        self._subsystems += 1
        return f"{UNATTACHED}/device[{self.numbers['next'] + self._subsystems - 1}]"

    def usb_product(self, model: str) -> str:
        """What QEMU calls a USB device of this model."""
        usb = self.chassis.profile.recorded(Personality.SYSTEM).hardware.model(model).usb
        assert usb is not None
        return str(usb["name"])

    def unplugs_by_acpi(self, bridge: Device) -> bool:
        """Whether devices behind a bridge are plugged in and unplugged by ACPI."""
        return unplug.has_acpi(bridge, self.board, self._rules)

    def bus_name(self, stem: str) -> str:
        """The name of a new bus whose device has no id."""
        number = self._bus_numbers.get(stem, 0)
        self._bus_numbers[stem] = number + 1
        name = f"{stem}.{number}"
        taken = any(bus.name == name for device in self.root.devices for bus in device.buses)
        return self.bus_name(stem) if taken else name

    def unmigratable(self) -> list[str]:
        """The devices whose state cannot be saved, as QEMU's sections are called."""
        from qmpd.machine.devices.sections import unmigratable

        return unmigratable(list(self))

    # Plugging in

    async def add(self, options: Mapping[str, Any], *, keyval: bool = False) -> Device:
        """Command device_add, and -device.

        :param options: driver, id, bus and properties: JSON values, or strings if `keyval`
        :raises QmpError: QEMU's texts
        """
        device_id = _text(options, "id")
        early = self._rules.holds("ids-come-first")
        if early:
            self._check_unused(device_id)
        driver, path = _text(options, "driver"), _text(options, "bus")
        built = self.chassis.creation_done
        kind, bus = model_and_bus(self.chassis.profile, self.root, driver, path, hotplug=built)
        if not early:
            self._check_unused(device_id)
        if device_id is not None and self._rules.holds("device-ids-are-checked"):
            check_device_id(device_id)
        path = f"{PERIPHERAL}/{device_id}"
        if device_id is None:
            path = f"{PERIPHERAL_ANON}/device[{self._anonymous_made}]"
            self._anonymous_made += 1
        device = Device(kind, device_id, path, self._tables, self.chassis.creation_done)
        rest = {name: options[name] for name in QDict(options) if name not in _OWN}
        container, name = self._container_of(device)
        container[name] = device
        try:
            await self._build(device, bus, rest, keyval=keyval)
        except BaseException:
            del container[name]
            raise
        return device

    def _check_unused(self, device_id: str | None) -> None:
        held = self._rules.holds("ids-come-first") and device_id in self._held
        if device_id is not None and (held or device_id in self.peripheral):
            raise GenericError(f"Duplicate device ID '{device_id}'")

    def lay_out(self, ide: int, floppies: int) -> dict[str, int]:
        """Prepare the board for drives; returns the numbers of devices (`Board.numbers`).

        :param ide: how many there are on its IDE buses
        :param floppies: how many floppy drives
        """
        self._drives = (ide, floppies)
        self.root = build(self.board, ide, floppies, self._rules)
        return self.numbers

    @property
    def numbers(self) -> dict[str, int]:
        """The numbers of the board's devices (`Board.numbers`)."""
        return self.board.numbers(*self._drives, self._rules)

    async def add_for_drive(
        self, model: str, number: int, bus: str, unit: int, backend: BlockBackend
    ) -> None:
        """Make the board's device for a drive.

        :param number: its number in ``/machine/unattached``
        :raises QmpError: QEMU's texts
        """
        path = f"{UNATTACHED}/device[{number}]"
        device = Device(KINDS[model], None, path, self._tables)
        drives.take(device, backend)
        own = {"drive": backend.name}
        where = bus_at(self.root, bus)
        await self._build(device, where, {"unit": unit}, keyval=False, board_set=own)
        container, name = self._container_of(device)
        container[name] = device

    async def _build(
        self,
        device: Device,
        bus: Bus,
        properties: Mapping[str, Any],
        *,
        keyval: bool,
        board_set: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Make a device on `bus`.

        :param board_set: properties that the board has already set
        """
        try:
            self._compat.apply(device)
            if self.globals is not None:
                await self.globals.apply(device, {**properties, **board_set}, self)
            form = self._form(keyval=keyval)
            for name, value in properties.items():
                await set_property(device, name, value, self, form)
            await realize(device, bus, self)
            self._complete(device, bus)
        except BaseException:
            for part in list(device.parts):
                await drives.give_back(part)
            give_usb_port_back(device)
            raise
        for part in device.parts:
            part.realized = True
        bus.devices.add(device)
        await drives.plugged(device, bus)
        self.inputs.plugged(device)
        if device.hotplugged:
            await self._reset(device)

    def _form(self, *, keyval: bool) -> Form:
        if not keyval:
            return Form.JSON
        return Form.TEXT if self._rules.holds("options-are-single-texts") else Form.OPTION

    def _complete(self, device: Device, bus: Bus) -> None:
        """Do what comes when the parts of a device are there: if it is refused, they end."""
        services = self.chassis.graph.services
        try:
            if device.kind.bus == "PCI":
                add_option_rom(device, services.storage.host)
            places.check_hotplug_slot(device, bus)
        except GenericError:
            for part in self._below(device):
                for data in unplug.ends(part, self._rules):
                    if data["path"] != device.path:
                        services.emit("DEVICE_DELETED", data)
            raise

    async def _reset(self, device: Device) -> None:
        """Reset a device that was plugged in, and what is on its buses."""
        for part in device.parts:
            await drives.settle(part)

    # Unplugging

    async def remove(self, name: str) -> None:
        """Command device_del; a PCI device waits for the guest to let go of it.

        :raises QmpError: there is no such device, or it, or its bus, does not support hotplugging
        """
        device = self.find(name)
        if device.unplugging and not unplug.may_ask_again(device, self._rules):
            raise GenericError(f"Device {name} is already in the process of unplug")
        if device.kind.bus == "virtio-bus":
            raise GenericError("Bus 'virtio-bus' does not support hotplugging")
        if device.bus is not None and not device.bus.hotplug:
            raise GenericError(f"Bus '{device.bus.name}' does not support hotplugging")
        if not device.kind.hotpluggable:
            raise GenericError(f"Device '{device.model}' does not support hotplugging")
        if device.kind.asks_guest:
            going = unplug.going_at_once(device, self._rules)
            for each in going:
                await self._take_off(each)
            if going:
                self._end_later(going, MANY)
            elif not device.unplugging:
                device.unplugging = True
                self.chassis.ask_to_unplug(device)
            return
        await self._take_off(device)
        await drives.unplugged(device)
        self._end_later([device])

    def _end_later(self, devices: list[Device], callbacks: int = 1) -> None:
        """End devices one after the other, in RCU callbacks (``bus_free_bus_child``).

        :param callbacks: how many QEMU has for them
        """
        clock = self.chassis.graph.services.loop

        async def end_all() -> None:
            for device in devices:
                await self._end(device)

        def end() -> None:
            clock.enter(end_all(), "device_del")

        self._rcu.call(end, callbacks)

    async def _take_off(self, device: Device) -> None:
        """Remove a device, and those on its buses, from the tree (``qdev_unrealize``)."""
        for below in self._below(device):
            await drives.settle(below)
            if below.backend is not None and not below.kind.keeps_drive:
                await drives.cancel_jobs(below.backend, self.chassis.jobs)
        for below in self._below(device):
            container, name = self._container_of(below)
            if container.get(name) is below:
                del container[name]
            if below.id is not None:
                self._held.add(below.id)
            self.inputs.unplugged(below)
            give_usb_port_back(below)
        if device.bus is not None:
            device.bus.devices.remove(device)

    def _below(self, device: Device) -> list[Device]:
        """All devices on the buses of `device`, the newest first, and finally `device`."""
        found: list[Device] = []
        for bus in device.buses:
            for child in bus.plugged:
                found += self._below(child)
        return [*found, device]

    async def _end(self, device: Device) -> None:
        """Release what a device and those on its buses hold, and emit DEVICE_DELETED."""
        for part in self._below(device):
            await drives.release(part)
            for data in unplug.ends(part, self._rules):
                self._held.discard(data.get("device", ""))
                self.chassis.graph.services.emit("DEVICE_DELETED", data)

    def has(self, device: Device) -> bool:
        """Whether a device has not been removed."""
        return device.bus is None or device in device.bus.devices

    async def unplug(self, device: Device) -> None:
        """Remove a device that the guest has let go of."""
        await self._take_off(device)
        await self._end(device)

    async def reset(self) -> None:
        """Reset the devices; those that were to be unplugged are removed, slot by slot."""
        for device in list(self._resetting(self.root)):
            await drives.reset(device)
        ended: list[Device] = []
        for bus in list(buses_below(self.root)):
            for device in unplug.going_at_reset(bus, self._rules):
                await self._take_off(device)
                ended.append(device)
        if ended:
            # The memory regions of a PCI device are many callbacks.
            self._end_later(ended, MANY)

    def _resetting(self, bus: Bus) -> Iterator[Device]:
        """The devices on `bus` in the order of their resets: those on its buses before each."""
        for device in bus.devices:
            for below in device.buses:
                yield from self._resetting(below)
            if isinstance(device, Device):
                yield device


_OWN: Final = ("driver", "id", "bus")


def _text(options: Mapping[str, Any], name: str) -> str | None:
    """A member if it is a string, else None."""
    value = options.get(name)
    return value if isinstance(value, str) else None
