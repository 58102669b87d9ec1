"""What ``--help`` of the storage daemon prints."""

from __future__ import annotations

from typing import Final

from qmpd.cli.help_text import table

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


def storage_daemon_help(name: str) -> str:
    """The help of a storage daemon called `name`."""
    return f"Usage: {name} [options]\nQEMU storage daemon, emulated by qmpd\n\n" + table(
        STORAGE_DAEMON
    )
