"""What ``-help`` of the system emulator prints."""

from __future__ import annotations

from typing import Final

from qmpd.cli.help_text import table, version
from qmpd.cli.system.qemu_options import OTHER_TARGETS, WITH_ARGUMENT, WITHOUT_ARGUMENT
from qmpd.profile.profile import Profile

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


def system_help(name: str, profile: Profile) -> str:
    """The help of a system emulator called `name`: options with an effect, then all options."""
    every = sorted((WITH_ARGUMENT | WITHOUT_ARGUMENT) - OTHER_TARGETS, key=str.lower)
    lines = [f"-{option} ARGUMENT" if option in WITH_ARGUMENT else f"-{option}" for option in every]
    return (
        version("QEMU emulator", profile)
        + f"usage: {name} [options] [disk_image]\n\n'disk_image' is a raw image for the first disk"
        + "\n\nOptions with an effect:\n"
        + table(SYSTEM)
        + "\nAll options, with the arguments of QEMU's; those not above describe a guest's"
        + " hardware or\nsurroundings, which a machine without a guest has no use for:\n"
        + "".join(f"{line}\n" for line in lines)
    )
