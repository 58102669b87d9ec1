"""What a command line of the system emulator asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from qmpd.cli.options.monitor import MonitorOptions
from qmpd.cli.report import CommandLineError
from qmpd.cli.system.machine_options import MachineOptions

if TYPE_CHECKING:
    from qmpd.profile import Profile


class Located(NamedTuple):
    """A value from the command line that is used later.

    :param location: the option, which messages about it begin with
    """

    what: Any
    location: str


@dataclass(eq=False, repr=False)
class SystemConfig:
    """What a command line asks for."""

    name: str | None = None
    uuid: str = "00000000-0000-0000-0000-000000000000"
    compat: dict[str, str] = field(default_factory=dict)
    machine: MachineOptions = field(default_factory=MachineOptions)
    paused: bool = False
    incoming: str | None = None
    incoming_channel: dict[str, Any] | None = None
    """Where the guest comes from, a MigrationChannel; None for ``-incoming defer``."""
    only_migratable: bool = False
    loadvm: str | None = None
    snapshot: bool = False
    preconfig: bool = False
    daemonize: bool = False
    pid_file: str | None = None
    nographic: bool = False
    defaults: bool = True
    default_monitor: bool = True
    default_serial: bool = True
    timestamps: bool = False
    escape: int = 1
    qtest: Located | None = None
    qtest_log: str | None = None
    descriptors: list[Located] = field(default_factory=list)
    chardevs: list[Located] = field(default_factory=list)
    monitors: list[MonitorOptions] = field(default_factory=list)
    serials: list[Located] = field(default_factory=list)
    parallels: list[Located] = field(default_factory=list)
    debugcons: list[Located] = field(default_factory=list)
    blockdevs: list[Located] = field(default_factory=list)
    drives: list[Located] = field(default_factory=list)
    objects: list[Located] = field(default_factory=list)
    firmware_items: list[Located] = field(default_factory=list)
    usb_devices: list[Located] = field(default_factory=list)
    tpms: list[Located] = field(default_factory=list)
    devices: list[Located] = field(default_factory=list)
    json_devices: list[Located] = field(default_factory=list)
    hardware: dict[str, list[str]] = field(default_factory=dict)
    """Values of other options, by their names."""
    probes: list[Located] = field(default_factory=list)

    def check(self, profile: Profile) -> None:
        """See that they go together.

        :param profile: of the machine that will be made
        :raises CommandLineError: with QEMU's text
        """
        incoming = self.incoming is not None
        excluded = profile.rules.holds("preconfig-and-incoming")
        for first, one, second, other in (
            ("incoming", incoming, "loadvm", self.loadvm is not None),
            ("preconfig", self.preconfig and excluded, "incoming", incoming),
            ("preconfig", self.preconfig, "loadvm", self.loadvm is not None),
        ):
            if one and other:
                text = f"'{first}' and '{second}' options are mutually exclusive"
                raise CommandLineError(text, location="")
        if self.preconfig and incoming and self.incoming != "defer":
            raise CommandLineError("'preconfig' supports '-incoming defer' only", location="")
        self._check_kernel()
        self.machine.check(profile)

    def of_kernel(self, name: str) -> str | None:
        """What is told of a guest's kernel: by an option of its own, or of the machine's."""
        values = self.hardware.get(name, ())
        return values[-1] if values else self.machine.properties.get(name)

    def _check_kernel(self) -> None:
        if self.of_kernel("kernel") is not None:
            return
        for name in ("append", "initrd", "shim"):
            if self.of_kernel(name) is not None:
                text = f"-{name} only allowed with -kernel option"
                raise CommandLineError(text, location="")
