"""Reading the command line of the system emulator into a `SystemConfig`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qmpd.cli.options.chardev import chardev_of, parse_short_form
from qmpd.cli.options.monitor import MonitorOptions, read_opts
from qmpd.cli.report import CommandLineError, InFile, Probe, Program, located
from qmpd.cli.system.checks import CHECKS, UNSERVED
from qmpd.cli.system.config import Located, SystemConfig
from qmpd.cli.system.drive_shortcuts import DRIVES, drive_opts
from qmpd.cli.system.given import Given, group_of, help_of
from qmpd.cli.system.plain_options import read_compat, read_incoming, read_uuid
from qmpd.cli.system.qemu_options import (
    OTHER_TARGETS,
    WITH_ARGUMENT,
    WITHOUT_ARGUMENT,
)
from qmpd.errors import GenericError, QmpError
from qmpd.options import groups
from qmpd.options.block_tree import parse_tree, read_option_value
from qmpd.options.command_line import Option
from qmpd.options.keyval import parse_keyval
from qmpd.options.qemu_opts import Opts, parse_opts

if TYPE_CHECKING:
    from qmpd.options.qemu_opts import OptionGroup
    from qmpd.profile import Profile


class ConfigReader:
    """Reads options, one after the other, into a `SystemConfig`.

    :param profile: of the machine that will be made
    """

    def __init__(self, program: Program, profile: Profile) -> None:
        self.config = SystemConfig()
        self.config.machine.aliases = profile.machine_aliases
        self._profile = profile
        self._program = program
        self._option = Option("", None, "")
        self._merged: dict[str, Opts] = {}
        self._ids: dict[str, set[str]] = {}
        self._compat_monitors = 0
        self.options: list[Option] = []
        """All that were read, those of configuration files among them."""
        self._actions: dict[str, Callable[[str], None]] = {
            "add-fd": self._add_fd,
            "audio": lambda text: self._sound(text, card=True),
            "audiodev": lambda text: self._sound(text, card=False),
            "blockdev": self._blockdev,
            "chardev": self._chardev,
            "compat": self._compat,
            "device": self._device,
            "drive": self._drive,
            "echr": self._echr,
            "fw_cfg": self._fw_cfg,
            "incoming": self._incoming,
            "machine": self._machine,
            "M": self._machine,
            "accel": self._accel,
            "cpu": self.config.machine.read_cpu,
            "mon": self._mon,
            "monitor": self._monitor,
            "msg": self._msg,
            "name": self._name,
            "object": self._object,
            "pidfile": self._pidfile,
            "qmp": lambda text: self._compat_monitor(text, control=True, pretty=False),
            "qmp-pretty": lambda text: self._compat_monitor(text, control=True, pretty=True),
            "qtest": self._qtest,
            "qtest-log": self._qtest_log,
            "parallel": self._parallel,
            "debugcon": self._debugcon,
            "loadvm": self._loadvm,
            "serial": self._serial,
            "readconfig": self._readconfig,
            "set": self._set,
            "tpmdev": self._tpmdev,
            "usbdevice": lambda text: self.config.usb_devices.append(self._later(text)),
            "smp": self._smp,
            "uuid": self._uuid,
        }
        self._flags: dict[str, str] = {
            "S": "paused",
            "only-migratable": "only_migratable",
            "preconfig": "preconfig",
            "daemonize": "daemonize",
            "nographic": "nographic",
            "snapshot": "snapshot",
        }

    def read(self, option: Option) -> None:
        """Read one option.

        :raises CommandLineError: with QEMU's text
        """
        self._option = option
        self.options.append(option)
        try:
            self._read(option)
        except QmpError as error:
            raise located(error, option.location) from None

    def _read(self, option: Option) -> None:
        name = option.name
        if name in OTHER_TARGETS:
            raise CommandLineError("Option not supported for this target")
        if name in UNSERVED:
            raise CommandLineError(f"{UNSERVED[name]} not served by qmpd")
        if name in self._flags:
            setattr(self.config, self._flags[name], True)
        elif name == "nodefaults":
            self.config.defaults = False
        elif name == "no-fd-bootchk" and self._profile.rules.holds("machines-check-floppies"):
            self.config.machine.properties["fd-bootchk"] = "off"
        elif name == "enable-kvm":
            self.config.machine.accelerator_names = ["kvm"]
        elif name in DRIVES:
            self.config.drives.append(self._later(drive_opts(name, option.value)))
        elif name in self._actions:
            self._actions[name](option.value)
        else:
            self._check_other(name)
            if name == "netdev" and option.value.startswith("{"):
                # what is wrong with JSON is told in the version's words
                parse_tree(option.value, None, self._profile.parse_json)
            if name in CHECKS:
                CHECKS[name](option.value, self._given)
            self.config.hardware.setdefault(name, []).append(option.argument or "")

    def _check_other(self, name: str) -> None:
        """See to an option that only other versions than the default one have."""
        if name in WITH_ARGUMENT or name in WITHOUT_ARGUMENT:
            return
        from qmpd.cli.system.other_options import MACHINE_PROPERTIES, UNSERVED

        if name in UNSERVED:
            raise CommandLineError(f"option -{name} is not served by qmpd")
        if name in MACHINE_PROPERTIES:
            key, value = MACHINE_PROPERTIES[name]
            self.config.machine.properties[key] = value

    @property
    def _given(self) -> Given:
        return Given(self._profile, self.warn, self._ids_of)

    def warn(self, text: str, hint: str | None = None) -> None:
        """Print a warning about the option at hand."""
        self._program.warn(text, self._option.location, hint)

    def _warn_of_form(self, text: str, hint: str | None = None) -> None:
        """Warn of how options are written, where the version does."""
        if self._profile.rules.holds("short-boolean-options"):
            self.warn(text, hint)

    def _parse(self, group: OptionGroup, text: str) -> Opts:
        """Parse QemuOpts syntax; a repeated option of a merging group adds to the first."""
        group = group_of(self._profile, group)
        into = self._merged.get(group.name) if group.merge else None
        ids = self._ids.setdefault(group.name, set())
        opts = parse_opts(group, text, self._warn_of_form, into=into, ids=ids)
        if opts.wants_help:
            raise help_of(self._profile, group)
        if group.merge:
            self._merged[group.name] = opts
        self._note_id(group, opts.id)
        return opts

    def _note_id(self, group: OptionGroup, new: str | None) -> None:
        if new is not None:
            self._ids.setdefault(group.name, set()).add(new)

    def _later(self, what: object) -> Located:
        return Located(what, self._option.location)

    def _blockdev(self, text: str) -> None:
        options = read_option_value(self._profile.reader, "BlockdevOptions", text, "driver")
        self.config.blockdevs.append(self._later(options))

    def _sound(self, text: str, *, card: bool) -> None:
        from qmpd.cli.system.sound_options import check_audio, check_audiodev

        if text in ("help", "?") and not self._profile.rules.holds("audio-help"):
            raise CommandLineError("Help is not available for this option")
        (check_audio if card else check_audiodev)(self._profile.reader, text)

    def _machine(self, text: str) -> None:
        others = self.config.machine.read_machine(text)
        if others:
            from qmpd.cli.system.machine_parts import as_options

            for name, value in as_options(others):
                CHECKS[name](value, self._given)
                self.config.hardware.setdefault(name, []).append(value)

    def _accel(self, text: str) -> None:
        self.config.machine.read_accel(text, self._option.location, self._warn_of_form)

    def _fw_cfg(self, text: str) -> None:
        opts = parse_opts(groups.FW_CFG, text, self._warn_of_form)
        self.config.firmware_items.append(self._later(opts))

    def _tpmdev(self, text: str) -> None:
        from qmpd.cli.system.tpm_options import GROUP, TYPES

        if text == "help":
            self._program.print_error(f"{TYPES}\n")
            raise Probe("", 0 if self._profile.rules.holds("tpm-help-succeeds") else 1)
        ids = self._ids.setdefault(GROUP.name, set())
        opts = parse_opts(GROUP, text, self._warn_of_form, ids=ids)
        self._note_id(GROUP, opts.id)
        self.config.tpms.append(self._later(opts))

    def _drive(self, text: str) -> None:
        opts = self._parse(groups.DRIVE, text)
        if opts.get("format") in ("help", "?"):
            self.config.probes.append(self._later(("help", "drive")))
        self.config.drives.append(self._later(opts))

    def _object(self, text: str) -> None:
        from qmpd.cli.options.object import object_help, read_flat_object
        from qmpd.profile.personality import Personality

        printed = object_help(text, self._profile, Personality.SYSTEM)
        if printed is not None:
            raise Probe(printed)
        by_keyval = self._in_file and not self._profile.rules.holds("configuration-by-lines")
        has_json = not self._profile.rules.holds("objects-without-schema")
        if (has_json and text.startswith("{")) or by_keyval:
            options = read_option_value(self._profile.reader, "ObjectOptions", text, None)
            self.config.objects.append(self._later(options))
            return
        opts = self._parse(groups.OBJECT, text)
        self.config.objects.append(self._later(read_flat_object(self._profile, opts)))

    def _device(self, text: str) -> None:
        if text.startswith("{"):
            self.config.json_devices.append(
                self._later(parse_tree(text, None, self._profile.parse_json))
            )
            return
        ids = self._ids.setdefault(groups.DEVICE.name, set())
        opts = parse_opts(groups.DEVICE, text, self.warn, ids=ids)
        self._note_id(groups.DEVICE, opts.id)
        if opts.wants_help:
            self.config.probes.append(self._later(("device", opts.get("driver"))))
            return
        self.config.devices.append(self._later(opts.to_dict()))

    def _add_fd(self, text: str) -> None:
        opts = self._parse(groups.ADD_FD, text)
        self.config.descriptors.append(Located(opts, self._option.location))

    def _chardev(self, text: str) -> None:
        if text in ("help", "?"):
            self.config.probes.append(self._later(("help", "chardev")))
            return
        self.config.chardevs.append(self._later(self._parse(groups.CHARDEV, text)))

    def _readconfig(self, _text: str) -> None:
        from qmpd.cli.system.config_files import ConfigFile

        file = ConfigFile(self._option, self._profile, self._program, self._ids_of)
        monitor = self.config.default_monitor
        for option in file.options():
            self.read(option)
        # only options on the command line keep the default one away
        self.config.default_monitor = monitor

    @property
    def _in_file(self) -> bool:
        """Whether the option at hand is a section of a configuration file."""
        return isinstance(self._option.location, InFile)

    def _ids_of(self, group: str) -> set[str]:
        return self._ids.setdefault(group, set())

    def _mon(self, text: str) -> None:
        if self._profile.rules.holds("monitors-are-objects") and not self._in_file:
            self.warn(
                "'-mon' is deprecated, use '-object' with 'monitor-hmp' or 'monitor-qmp' types"
                " instead"
            )
        opts = self._parse(groups.MON, text)
        self.config.monitors.append(read_opts(opts, self._option.location))
        self.config.default_monitor = False

    def _monitor(self, text: str) -> None:
        self.config.default_monitor = False
        if not text.startswith("none"):
            self._compat_monitor(text, control=False, pretty=False)

    def _compat_monitor(self, text: str, *, control: bool, pretty: bool) -> None:
        self.config.default_monitor = False
        found = chardev_of(text)
        if found is not None:
            label = found
        else:
            label = f"compat_monitor{self._compat_monitors}"
            self._compat_monitors += 1
            try:
                opts = parse_short_form(label, text)
                if label in self._ids.get(groups.CHARDEV.name, ()):
                    raise GenericError(f"Duplicate ID '{label}' for {groups.CHARDEV.name}")
                self._note_id(groups.CHARDEV, label)
            except GenericError as error:
                if error.desc:
                    self._program.message(error.desc, self._option.location, error.hint)
                raise CommandLineError(f"parse error: {text}") from None
            self.config.chardevs.append(self._later(opts))
        options = MonitorOptions(label, control, pretty, self._option.location)
        self.config.monitors.append(options)

    def _serial(self, text: str) -> None:
        self.config.default_serial = False
        self.config.serials.append(self._later(text))

    def _parallel(self, text: str) -> None:
        self.config.hardware.setdefault("parallel", []).append(text)
        if text != "none":
            self.config.parallels.append(self._later(text))

    def _debugcon(self, text: str) -> None:
        self.config.debugcons.append(self._later(text))

    def _qtest(self, text: str) -> None:
        self.config.qtest = self._later(text)

    def _qtest_log(self, text: str) -> None:
        self.config.qtest_log = text

    def _name(self, text: str) -> None:
        name = self._parse(groups.NAME, text).get("guest")
        if name is not None:
            self.config.name = name

    def _smp(self, text: str) -> None:
        if self._profile.rules.holds("boards-by-options"):
            # help is a value there
            self._parse(groups.SMP, f"cpus={text}" if text == "help" else text)
        elif parse_keyval(text, "cpus").wants_help:
            raise help_of(self._profile, groups.SMP, 0)
        self.config.machine.read_smp(text)

    def _uuid(self, text: str) -> None:
        self.config.uuid = read_uuid(text)

    def _msg(self, text: str) -> None:
        self.config.timestamps = self._parse(groups.MSG, text).flag("timestamp")
        self._program.timestamps = self.config.timestamps

    def _loadvm(self, text: str) -> None:
        self.config.loadvm = text

    def _set(self, text: str) -> None:
        from qmpd.cli.system.set_option import set_option

        config = self.config
        places = {"drive": config.drives, "device": config.devices, "chardev": config.chardevs}
        set_option(
            {group: [each.what for each in things] for group, things in places.items()}, text
        )

    def _pidfile(self, text: str) -> None:
        self.config.pid_file = text

    def _echr(self, text: str) -> None:
        digits = text.lower().removeprefix("0x")
        try:
            self.config.escape = int(digits, 16 if digits != text.lower() else 10)
        except ValueError:
            self._program.print("Bad argument to echr\n")

    def _incoming(self, text: str) -> None:
        channel = read_incoming(text, self._profile)
        self.config.incoming, self.config.incoming_channel = text, channel

    def _compat(self, text: str) -> None:
        self.config.compat.update(read_compat(text, self._profile))
