"""What the one-shot probes of the system emulator print."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NoReturn

from qmpd.cli.chardev_options import BACKENDS
from qmpd.cli.report import CommandLineError
from qmpd.cli.system import probe_lists
from qmpd.cli.system.machine_options import ACCELERATORS
from qmpd.machine.devices.models import device_models, is_device_model
from qmpd.options.qemu_opts import OptionGroup, help_text
from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from qmpd.cli.system.config import Located, SystemConfig

FORMATS: Final = (
    "blkdebug blklogwrites blkreplay blkverify bochs cloop compress copy-before-write copy-on-read"
    " dmg file ftp ftps gluster host_cdrom host_device http https iscsi iser luks nbd nfs null-aio"
    " null-co nvme parallels preallocate qcow qcow2 qed quorum raw rbd replication snapshot-access"
    " ssh throttle vdi vhdx vmdk vpc vvfat"
)
"""Block drivers, as ``-drive format=help`` lists them."""

VGAS: Final = (
    ("none", "no graphic card"),
    ("std", "standard VGA (default)"),
    ("cirrus", "Cirrus VGA"),
    ("vmware", "VMWare SVGA"),
    ("virtio", "Virtio VGA"),
)


def _end(text: str, status: int = 0) -> NoReturn:
    sys.stdout.write(text)
    sys.stdout.flush()
    raise SystemExit(status)


def run_probes(config: SystemConfig) -> None:
    """Print what was asked for and end the program; return when nothing was.

    :raises SystemExit: after printing
    """
    machine = config.machine
    if machine.wants_help and machine.type is None:
        _end(machines())
    if machine.wants_help:
        machine.check()
        _end(machine_properties(machine.name))
    if machine.accel_help:
        names = "".join(f"{name}\n" for name in ACCELERATORS)
        _end(f"Accelerators supported in QEMU binary:\n{names}")
    if machine.cpu in ("help", "?"):
        _end(cpus())
    for probe in config.probes:
        _run(probe)


def _run(probe: Located) -> NoReturn:
    if probe.what == "formats":
        _end(f"Supported formats: {FORMATS}\nSupported formats (read-only): {FORMATS}\n")
    if probe.what == "chardevs":
        names = "".join(f"\n  {name}" for name in BACKENDS[Personality.SYSTEM])
        _end(f"Available chardev backend types: {names}\n")
    _, driver = probe.what
    if driver is None:
        _end(devices())
    if not is_device_model(driver):
        raise CommandLineError(
            f"'{driver}' is not a valid device model name", location=probe.location
        )
    raise CommandLineError(
        f"the properties of '{driver}' are not known to qmpd", location=probe.location
    )


def machines() -> str:
    """``-machine help``."""
    lines = [f"{entry.name:<20} {entry.description}\n" for entry in probe_lists.machine_types()]
    return "Supported machines are:\n" + "".join(lines)


def machine_properties(name: str) -> str:
    """``-machine NAME,help``: names only."""
    from qmpd.cli.system.machine_options import NONE_PROPERTIES, PC_PROPERTIES

    names = NONE_PROPERTIES if name == "none" else PC_PROPERTIES
    lines = "".join(f"  {entry}\n" for entry in sorted(names - {"accel", "type"}))
    return f"{name}-machine options:\n{lines}"


def cpus() -> str:
    """``-cpu help``."""
    lines = []
    for name, alias_of in probe_lists.cpu_models().items():
        text = f"(alias of {alias_of})" if alias_of else ""
        lines.append(f"  {name:<20}  {text}".rstrip() + "\n")
    return "Available CPUs:\n" + "".join(lines)


def devices() -> str:
    """``-device help``: groups of lines."""
    lines: list[str] = []
    group = ""
    for model in device_models():
        if model.group != group:
            lines.append(f"{chr(10) if group else ''}{model.group} devices:\n")
            group = model.group
        bus = f", bus {model.bus}" if model.bus else ""
        alias = f', alias "{model.alias}"' if model.alias else ""
        lines.append(f'name "{model.name}"{bus}{alias}\n')
    return "".join(lines)


def print_group_help(group: OptionGroup) -> NoReturn:
    """``help`` among the parameters of an option: QEMU ends with status 1 then."""
    _end(help_text(group), 1)


def print_displays() -> NoReturn:
    """``-display help``: there is none to be had."""
    _end("Available display backend types:\nnone\n")


def print_vgas() -> NoReturn:
    """``-vga help``."""
    _end("".join(f"{name:<20} {text}\n" for name, text in VGAS))


def print_audio_drivers() -> NoReturn:
    """``-audiodev help``."""
    _end("Available audio drivers:\nnone\n")
