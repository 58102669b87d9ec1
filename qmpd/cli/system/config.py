"""What a command line of the system emulator asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from qmpd.cli.options.monitor import MonitorOptions
from qmpd.cli.report import CommandLineError
from qmpd.cli.system.machine_options import MachineOptions

if TYPE_CHECKING:
    from qmpd.cli.report import Program
    from qmpd.profile import Profile


class Located(NamedTuple):
    """A value from the command line that is used later.

    :param location: the option, which messages about it begin with
    """

    what: Any
    location: str


class SystemConfig:
    """What a command line asks for."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.uuid = "00000000-0000-0000-0000-000000000000"
        self.compat: dict[str, str] = {}
        self.machine = MachineOptions()
        self.paused = False
        self.incoming: str | None = None
        self.incoming_channel: dict[str, Any] | None = None
        """Where the guest comes from, a MigrationChannel; None for ``-incoming defer``."""
        self.only_migratable = False
        self.loadvm: str | None = None
        self.snapshot = False
        self.preconfig = False
        self.daemonize = False
        self.pid_file: str | None = None
        self.nographic = False
        self.defaults = True
        self.default_monitor = True
        self.default_serial = True
        self.timestamps = False
        self.escape = 1
        self.qtest: Located | None = None
        self.qtest_log: str | None = None
        self.descriptors: list[Located] = []
        self.chardevs: list[Located] = []
        self.monitors: list[MonitorOptions] = []
        self.serials: list[Located] = []
        self.parallels: list[Located] = []
        self.debugcons: list[Located] = []
        self.blockdevs: list[Located] = []
        self.drives: list[Located] = []
        self.objects: list[Located] = []
        self.firmware_items: list[Located] = []
        self.usb_devices: list[Located] = []
        self.tpms: list[Located] = []
        self.devices: list[Located] = []
        self.json_devices: list[Located] = []
        self.hardware: dict[str, list[str]] = {}
        """Values of other options, by their names."""
        self.probes: list[Located] = []

    def check(self, profile: Profile, program: Program) -> None:
        """See that they go together.

        :param profile: of the machine that will be made
        :param program: tells of what is but passed over
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
        self.machine.check(profile, program)
        for text in self.hardware.get("vga", ())[-1:]:
            from qmpd.cli.system.display_options import check_vga

            check_vga(text, profile)

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
