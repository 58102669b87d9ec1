"""What ``--version`` and ``--help`` of the QEMU-compatible programs print."""

from __future__ import annotations

from typing import Final

from qmpd.profile import load
from qmpd.version import __version__

_EMULATES: Final = f"This is qmpd {__version__}, which emulates that program's block layer and QMP."

STORAGE_DAEMON: Final = (
    ("-h, --help", "print this and exit"),
    ("-V, --version", "print the version and exit"),
    ("-T, --trace PATTERN", "taken for compatibility; there are no trace events"),
    ("--blockdev [driver=]DRIVER,node-name=NAME[,OPTION=VALUE...]", "open a node (also JSON)"),
    ("--chardev BACKEND,id=ID[,OPTION=VALUE...]", "open a character device: socket, stdio, null"),
    ("--monitor [chardev=]ID[,mode=control][,pretty=on|off]", "serve QMP on a character device"),
    ("--object TYPE,id=ID[,PROPERTY=VALUE...]", "make an object ('--object help' lists types)"),
    ("--nbd-server addr.type=unix,addr.path=PATH", "an NBD server"),
    ("--export [type=]nbd,id=ID,node-name=NAME", "an NBD export"),
    ("--pidfile PATH", "write the process id there when all is set up"),
    ("--daemonize", "detach; returns when clients may connect"),
)
"""Options of the storage daemon, and what they do here."""

SYSTEM: Final = (
    ("-h, -help", "print this and exit"),
    ("-version", "print the version and exit"),
    ("-machine NAME[,PROPERTY=VALUE...]", "machine type to pass for ('-machine help')"),
    ("-accel NAME", "accelerator to pass for; qtest brings the stepped clock"),
    ("-nodefaults", "no monitor and no drives but those asked for"),
    ("-name NAME, -uuid UUID", "what query-name and query-uuid say"),
    ("-S", "do not start the guest"),
    ("--preconfig", "wait for x-exit-preconfig before the machine is made"),
    ("-blockdev [driver=]DRIVER,node-name=NAME[,OPTION=VALUE...]", "open a node (also JSON)"),
    ("-drive file=PATH,format=FORMAT,if=none,id=ID[,OPTION=VALUE...]", "open a drive"),
    ("-object TYPE,id=ID[,PROPERTY=VALUE...]", "make an object ('-object help' lists types)"),
    ("-chardev BACKEND,id=ID[,OPTION=VALUE...]", "open a character device: socket, stdio, null"),
    ("-mon [chardev=]ID,mode=control|readline[,pretty=on|off]", "serve a monitor on it"),
    ("-qmp DEVICE, -qmp-pretty DEVICE", "QMP on unix:PATH, tcp:HOST:PORT or stdio"),
    ("-monitor DEVICE", "the human monitor there"),
    ("-qtest DEVICE, -qtest-log FILE", "the qtest channel there, and its log"),
    ("-compat POLICY=VALUE,...", "what to do about deprecated and unstable interfaces"),
    ("-msg timestamp=on|off", "time before messages"),
    ("-pidfile PATH", "write the process id there"),
    ("-daemonize", "detach; returns when clients may connect"),
)
"""Options of the system emulator that have an effect here."""


def version(program: str) -> str:
    """The version as `program` of QEMU words it, and whose work this is.

    :param program: ``QEMU emulator`` or ``qemu-storage-daemon``
    """
    profile = load()
    return f"{program} version {profile.version} ({profile.package})\n{_EMULATES}\n"


def storage_daemon_help(name: str) -> str:
    """The help of a storage daemon called `name`."""
    return f"Usage: {name} [options]\nQEMU storage daemon, emulated by qmpd\n\n" + _table(
        STORAGE_DAEMON
    )


def system_help(name: str) -> str:
    """The help of a system emulator called `name`: what has an effect, then all it takes."""
    from qmpd.cli.system.qemu_options import OTHER_TARGETS, WITH_ARGUMENT, WITHOUT_ARGUMENT

    every = sorted((WITH_ARGUMENT | WITHOUT_ARGUMENT) - OTHER_TARGETS, key=str.lower)
    lines = [f"-{option} ARGUMENT" if option in WITH_ARGUMENT else f"-{option}" for option in every]
    return (
        version("QEMU emulator")
        + f"usage: {name} [options] [disk_image]\n\n'disk_image' is a raw image for the first disk"
        + "\n\nOptions with an effect:\n"
        + _table(SYSTEM)
        + "\nAll options, with the arguments of QEMU's; those not above describe a guest's"
        + " hardware or\nsurroundings, which a machine without a guest has no use for:\n"
        + "".join(f"{line}\n" for line in lines)
    )


def _table(rows: tuple[tuple[str, str], ...]) -> str:
    return "".join(f"{option}\n                {text}\n" for option, text in rows)
