"""The options of qemu-system-x86_64 10.0.2: names, and whether an argument follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from qmpd.cli.report import CommandLineError
from qmpd.options.command_line import Option

WITH_ARGUMENT: Final = frozenset(
    [
        "machine",
        "M",
        "cpu",
        "accel",
        "smp",
        "numa",
        "add-fd",
        "set",
        "global",
        "boot",
        "m",
        "mem-path",
        "k",
        "audio",
        "audiodev",
        "device",
        "name",
        "uuid",
        "fda",
        "fdb",
        "hda",
        "hdb",
        "hdc",
        "hdd",
        "cdrom",
        "blockdev",
        "drive",
        "mtdblock",
        "sd",
        "fsdev",
        "virtfs",
        "iscsi",
        "usbdevice",
        "display",
        "spice",
        "vga",
        "g",
        "vnc",
        "acpitable",
        "smbios",
        "netdev",
        "nic",
        "net",
        "chardev",
        "tpmdev",
        "bios",
        "pflash",
        "kernel",
        "shim",
        "append",
        "initrd",
        "dtb",
        "compat",
        "fw_cfg",
        "serial",
        "parallel",
        "monitor",
        "qmp",
        "qmp-pretty",
        "mon",
        "debugcon",
        "pidfile",
        "overcommit",
        "gdb",
        "d",
        "D",
        "dfilter",
        "seed",
        "L",
        "xen-domid",
        "action",
        "loadvm",
        "option-rom",
        "rtc",
        "icount",
        "watchdog-action",
        "echr",
        "incoming",
        "prom-env",
        "semihosting-config",
        "sandbox",
        "readconfig",
        "trace",
        "plugin",
        "qtest",
        "qtest-log",
        "run-with",
        "msg",
        "dump-vmstate",
        "object",
    ]
)

WITHOUT_ARGUMENT: Final = frozenset(
    [
        "h",
        "help",
        "version",
        "mem-prealloc",
        "snapshot",
        "usb",
        "nographic",
        "full-screen",
        "win2k-hack",
        "no-fd-bootchk",
        "preconfig",
        "S",
        "s",
        "enable-kvm",
        "xen-attach",
        "xen-domid-restrict",
        "no-reboot",
        "no-shutdown",
        "daemonize",
        "only-migratable",
        "nodefaults",
        "semihosting",
        "old-param",
        "no-user-config",
        "enable-sync-profile",
        "perfmap",
        "jitdump",
    ]
)

OTHER_TARGETS: Final = frozenset(
    "g prom-env semihosting semihosting-config old-param xen-attach xen-domid-restrict".split()
)
"""Known, but not for x86."""

DISK_IMAGE: Final = ""
"""Name of the option that a bare word stands for."""


class KnownOptions(NamedTuple):
    """The options that a version knows."""

    with_argument: frozenset[str]
    without_argument: frozenset[str]


USUAL: Final = KnownOptions(WITH_ARGUMENT, WITHOUT_ARGUMENT)


def split_options(arguments: Sequence[str], known: KnownOptions = USUAL) -> list[Option]:
    """Cut a command line into options.

    :raises CommandLineError: an option is unknown or lacks its argument
    """
    options: list[Option] = []
    words = iter(arguments)
    for word in words:
        if not word.startswith("-"):
            options.append(Option(DISK_IMAGE, word, word))
            continue
        name = word[2:] if word.startswith("--") else word[1:]
        if name in known.without_argument:
            options.append(Option(name, None, word))
        elif name in known.with_argument:
            argument = next(words, None)
            if argument is None:
                raise CommandLineError("requires an argument", location=word)
            options.append(Option(name, argument, f"{word} {argument}"))
        else:
            raise CommandLineError("invalid option", location=word)
    return options
