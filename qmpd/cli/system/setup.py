"""Building what the command line asks for, in the order of ``qemu_init`` (system/vl.c)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from qmpd.cli.options.chardev import ChardevFactory, chardev_of, parse_short_form
from qmpd.cli.options.monitor import MonitorOptions, add_monitor
from qmpd.cli.options.object import add_object_of
from qmpd.cli.process import add_node
from qmpd.cli.report import CommandLineError, located
from qmpd.cli.system.board_options import MAX_PARALLELS, default_drives
from qmpd.cli.system.config import Located
from qmpd.errors import GenericError, QmpError
from qmpd.options import groups
from qmpd.options.qemu_opts import Opts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from qmpd.cli.process import Process
    from qmpd.cli.system.config import SystemConfig
    from qmpd.machine.devices.globals import Globals
    from qmpd.machine.drives.board import Drive


_CHECKED_LATE: Final = frozenset(("bios", "boot", "kernel", "m", "mem-path", "numa", "vga"))


class SystemSetup:
    """Brings the machine into the state that `config` describes.

    :param process: with its machine built
    """

    def __init__(self, process: Process, config: SystemConfig) -> None:
        self._process = process
        self._config = config
        self._server = process.server
        self._location = ""
        self._globals: Globals | None = None
        self._factory = ChardevFactory(process.server, self._inform, escape=config.escape)

    def run(self) -> None:
        """Make objects, character devices, nodes, drives, monitors and devices.

        :raises CommandLineError: with QEMU's text
        """
        config = self._config
        if config.descriptors:
            self._add_descriptors(config.descriptors)
        self._set_globals()
        self._add_default_devices()
        self._each(config.objects, self._object)
        self._each(config.chardevs, self._chardev)
        self._server.chardevs.named.update(thing.what.id or "" for thing in config.chardevs)
        self._each(config.blockdevs, self._blockdev)
        drives = self._make_drives()
        self._start_qtest()
        self._connect_ports()
        for monitor in config.monitors:
            add_monitor(self._server, self._factory, monitor, human=True)
        self._check_surroundings()
        self._make_devices(drives)
        self._warn()
        self._server.machine.creation_done = True
        for mux in self._factory.muxes:
            mux.settle()

    def load_snapshot(self, tag: str) -> None:
        """Bring the disks back to a snapshot, as ``-loadvm`` says.

        :raises CommandLineError: with QEMU's text
        """
        from qmpd.block.io.disk_snapshots import SnapshotGroup
        from qmpd.jobs.image.snapshot import load_snapshot

        machine = self._server.machine
        group = SnapshotGroup(machine.graph, None)
        try:
            self._server.run_now(load_snapshot(machine, group, tag, None))
        except QmpError as error:
            raise CommandLineError(error.report.rstrip("\n"), location="") from None

    def await_guest(self) -> None:
        """Wait for the guest that ``-incoming`` speaks of.

        :raises CommandLineError: with QEMU's text
        """
        config = self._config
        assert config.incoming_channel is not None
        try:
            self._server.machine.migration.receive(None, [config.incoming_channel])
        except GenericError as error:
            text = f"-incoming {config.incoming}: {error.desc}"
            raise CommandLineError(text, location="") from None

    def _each(self, things: Iterable[Located], action: Callable[[Any], None]) -> None:
        for thing in things:
            self._do(thing, action)

    def _set_globals(self) -> None:
        texts = self._config.hardware.get("global", [])
        if texts:
            from qmpd.cli.system.global_options import set_globals

            self._globals = set_globals(self._server.machine, texts)

    def _make_drives(self) -> list[Drive]:
        """Make the drives asked for, and those that a board has without; returns all."""
        config, machine = self._config, self._server.machine
        self._each(config.drives, self._drive)
        by_default = default_drives(config, machine.profile.rules)
        for options in by_default:
            if machine.drives.find(options["if"], int(options["index"])) is None:
                self._drive(_drive_opts(options), is_default=True)
        # without any there is nothing to load and to build
        return list(machine.drives) if config.drives or by_default else []

    def _connect_ports(self) -> None:
        config = self._config
        self._each(config.tpms, self._tpm)
        for number, thing in enumerate(config.serials):
            self._do(thing, partial(self._serial, number))
        for number, thing in enumerate(config.parallels):
            self._do(thing, partial(self._parallel, number))
        self._each(config.debugcons, self._debugcon)

    def _make_devices(self, drives: list[Drive]) -> None:
        """Make the board's devices for `drives`, and those asked for."""
        config = self._config
        if drives:
            self._do(Located(drives, ""), self._attach)
        if config.hardware.get("netdev"):
            from qmpd.cli.system.network_options import netdev_of

            machine = self._server.machine
            netdevs = (netdev_of(text, machine.profile)[0] for text in config.hardware["netdev"])
            machine.devices.netdevs.update(netdevs)
        self._each(config.firmware_items, self._firmware_item)
        for thing in config.usb_devices:
            self._do(Located(thing, thing.location), self._usb_device)
        self._each(config.devices, partial(self._device, keyval=True))
        self._each(config.json_devices, partial(self._device, keyval=False))
        if drives:
            self._check_orphans(drives)

    def _warn(self) -> None:
        """Warn of what is there and does nothing."""
        config = self._config
        network = {name: config.hardware.get(name, []) for name in ("netdev", "nic", "net")}
        if any(network.values()):
            self._warn_of_network(network)
        if self._globals is not None:
            for each in self._globals.of_no_device():
                text = f"global {each.driver}.{each.name} has invalid class name"
                self._process.program.warn(text, "")

    def _warn_of_network(self, network: dict[str, list[str]]) -> None:
        from qmpd.cli.system.network_options import network_warnings

        machine = self._server.machine
        for text in network_warnings(
            network,
            has_adapters=self._config.machine.has_hardware,
            random=machine.services.random,
            profile=machine.profile,
        ):
            self._process.program.warn(text, "")

    def _do(self, thing: Located, action: Callable[[Any], None]) -> None:
        self._location = thing.location
        self._server.at_option = self._process.program.place(thing.location)
        try:
            action(thing.what)
        except QmpError as error:
            raise located(error, thing.location) from None
        finally:
            self._server.at_option = ""

    def _inform(self, text: str) -> None:
        self._process.program.message(f"info: {text}", self._location)

    def _add_default_devices(self) -> None:
        """Add QEMU's default monitor and serial port unless others were asked for."""
        config = self._config
        serial = config.defaults and config.default_serial and config.machine.has_hardware
        monitor = config.defaults and config.default_monitor
        device = "stdio" if config.nographic else "vc"
        if config.nographic and serial and monitor:
            config.serials.append(Located("mon:stdio", ""))
            return
        if serial:
            config.serials.append(Located(device, ""))
        if monitor:
            opts = parse_short_form("compat_monitor0", device)
            config.chardevs.append(Located(opts, ""))
            config.monitors.append(MonitorOptions("compat_monitor0", False, False, ""))

    def _add_descriptors(self, descriptors: list[Located]) -> None:
        from qmpd.cli.system.descriptors import add_descriptor, close_original

        fdsets = self._server.machine.services.storage.fdsets
        for thing in descriptors:
            self._do(thing, lambda opts: add_descriptor(fdsets, opts))
        for thing in descriptors:
            close_original(thing.what)

    def _object(self, properties: dict[str, Any]) -> None:
        try:
            with self._limits_in_real_time():
                add_object_of(self._server.machine, properties)
        except QmpError as error:
            # by now QEMU does not say any more which option it is about, but in old versions
            old = self._server.machine.profile.rules.holds("objects-without-schema")
            raise located(error, self._location if old else "") from None

    def _limits_in_real_time(self) -> AbstractContextManager[None]:
        """Throttle groups made meanwhile do not follow the clock that a harness steps.

        In QEMU, options are turned into objects and drives before there is an accelerator.
        """
        machine = self._server.machine
        return machine.graph.throttle_groups.made_on(machine.services.clocks.realtime)

    def _chardev(self, opts: Opts) -> None:
        self._server.chardevs.maker.surroundings.daemonized = self._config.daemonize
        self._factory.create(opts)

    def _blockdev(self, options: dict[str, Any]) -> None:
        add_node(self._server, options)

    def _drive(self, opts: Opts, *, is_default: bool = False) -> None:
        if self._config.snapshot and opts.get("snapshot") is None:
            opts.set("snapshot", "on")
        drives = self._server.machine.drives
        with self._limits_in_real_time():
            added = self._server.run_now(drives.add(opts, self._location, is_default=is_default))
        if added.device is not None:
            properties = {"driver": added.device, "drive": added.backend.name}
            self._config.devices.append(Located(properties, self._location))

    def _attach(self, drives: list[Drive]) -> None:
        from qmpd.machine.drives.board import attach_drives

        server, report = self._server, self._process.program.message
        server.run_now(attach_drives(server.machine.devices, drives, report))

    def _check_orphans(self, drives: list[Drive]) -> None:
        """Complain about drives without a device.

        :raises CommandLineError: for the last of them
        """
        from qmpd.machine.drives.board import orphan_complaints

        last: CommandLineError | None = None
        for text, location in orphan_complaints(drives):
            if last is not None:
                self._process.program.complain(last)
            last = CommandLineError(text, location=location)
        if last is not None:
            raise last

    def _check_surroundings(self) -> None:
        config = self._config
        backend = config.machine.properties.get("memory-backend")
        if backend is not None and backend not in self._server.machine.objects.objects:
            raise CommandLineError(f"Memory backend '{backend}' not found", location="")
        if _CHECKED_LATE.isdisjoint(config.hardware) and "kernel" not in config.machine.properties:
            return
        from qmpd.cli.system.late_checks import check_board

        check_board(config, self._process.program)

    def _firmware_item(self, opts: Opts) -> None:
        from qmpd.cli.system.late_checks import check_fw_cfg

        machine = self._server.machine
        objects = machine.objects.objects
        check_fw_cfg(
            opts,
            lambda text: self._process.program.warn(text, self._location),
            has_device=self._config.machine.has_hardware,
            type_of=lambda name: objects[name].qom_type if name in objects else None,
        )

    def _usb_device(self, thing: Located) -> None:
        from qmpd.cli.system.late_checks import check_usb

        has_hardware = self._config.machine.has_hardware
        check_usb(thing, self._process.program, has_hardware=has_hardware)

    def _tpm(self, opts: Opts) -> None:
        from qmpd.cli.system.tpm_options import check_tpm

        check_tpm(opts, lambda label: self._server.chardevs.find(label) is not None)

    def _serial(self, number: int, text: str) -> None:
        if text == "none":
            return
        wrong = f"could not connect serial device to character backend '{text}'"
        label = self._connect(f"serial{number}", text, wrong)
        if text.startswith("mon:"):
            monitor = MonitorOptions(label, False, False, self._location)
            add_monitor(self._server, self._factory, monitor, human=True)
        self._plug_in(label)

    def _plug_in(self, label: str) -> None:
        """Have a port of the board's use a character device."""
        if self._config.machine.has_hardware:
            from qmpd.server.chardev.mux import SilentConsole

            place = self._factory.frontend_place(label)
            assert place is not None
            place[0].attach(SilentConsole())

    def _connect(self, label: str, text: str, wrong: str) -> str:
        """Find or make the character device of a port.

        :param label: the id of a new one
        :param text: what it is: ``chardev:ID``, or the short form of a new one
        :param wrong: what is said after the reason why it cannot be made
        :returns: its id
        """
        found = chardev_of(text)
        if found is not None:
            if self._server.chardevs.find(found) is None:
                raise CommandLineError(wrong)
            return found
        try:
            self._chardev(parse_short_form(label, text))
        except GenericError as error:
            if error.desc:
                self._process.program.message(error.desc, self._location, error.hint)
            raise CommandLineError(wrong) from None
        return label

    def _parallel(self, number: int, text: str) -> None:
        if number >= MAX_PARALLELS:
            raise CommandLineError("too many parallel ports")
        wrong = f"could not connect parallel device to character backend '{text}'"
        self._plug_in(self._connect(f"parallel{number}", text, wrong))

    def _debugcon(self, text: str) -> None:
        self._connect("debugcon", text, f"invalid character backend '{text}'")
        if not self._config.machine.has_hardware:
            raise CommandLineError("No 'ISA' bus found for device 'isa-debugcon'")
        if self._server.chardevs.find("debugcon") is None:
            wrong = "Property 'isa-debugcon.chardev' can't find value 'debugcon'"
            raise CommandLineError(wrong)
        self._plug_in("debugcon")

    def _start_qtest(self) -> None:
        if self._config.qtest is not None:
            from qmpd.cli.system.qtest import start_qtest

            start_qtest(self._config, self._process, self._factory)

    def _device(self, properties: dict[str, Any], *, keyval: bool) -> None:
        self._server.run_now(self._server.machine.devices.add(properties, keyval=keyval))


def _drive_opts(options: dict[str, str]) -> Opts:
    opts = Opts(groups.DRIVE)
    for name, value in options.items():
        opts.set(name, value)
    return opts
