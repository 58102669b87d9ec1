"""The command line of ``qmpd serve``."""

from __future__ import annotations

import argparse
import os
from typing import Final

from qmpd.block.images import STORAGES
from qmpd.machine.disks import CREATE_KEYS
from qmpd.profile.shipped import DEFAULT, VERSIONS

DESCRIPTION = """\
Serve one machine over QMP, until a client says 'quit' or a signal comes.
Without --disk, --image and --load the machine is empty; clients add nodes with blockdev-add.
"""

EPILOG = """\
examples:
  qmpd serve --qmp unix:/tmp/qmp.sock --disk disk0=64G
  qmpd serve --qmp tcp::4444 --qmp unix:/tmp/qmp.sock --storage overlay --image /var/vm.qcow2

A --disk is a raw node over a file in memory, with a block backend of the same name, so
that query-block shows it; it starts as zeroes and costs memory only where it is written.
"""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Finds the terminal's width by itself: argparse imports shutil for it, at every start."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    """The width of the terminal, as `shutil.get_terminal_size` has it."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size().columns or 80
    except OSError:
        return 80


DEFAULTS: Final = {
    "storage": "memory",
    "version": DEFAULT,
    "personality": "system",
    "clock": "real",
    "board": "none",
}
"""What options are where they are not given."""

_ALLOW: Final = {
    "allow_write": "with --storage host: write images only there, in this directory or file",
    "allow_read": "with --storage overlay, or --allow: what is read for clients; the images that"
    " options name are read as well",
    "allow_sockets": "clients listen at, and connect to, unix sockets in this directory only,"
    " and no other sockets",
}
"""Options that say what of the host clients may reach: ``--allow``, ``--allow-read``, ..."""

OF_MACHINE: Final = {
    **{name: f"--{name}" for name in ("disk", "image", "storage")},
    "personality": "--as",
    **{name: f"--{name}" for name in ("version", "clock", "seed", "name", "uuid", "board")},
    **{name: f"--{name}" for name in ("power", "schedule", "paused")},
}
"""Options that say what the machine is."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="qmpd serve",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=_HelpFormatter,
    )
    add = result.add_argument
    add(
        "--qmp",
        metavar="WHERE",
        action="append",
        default=[],
        required=True,
        help="where clients connect: unix:PATH, tcp:HOST:PORT (HOST empty: loopback) or stdio;"
        " may be repeated, one client at a time each. ',pretty=on' indents replies,"
        " ',mode=OCTAL' sets the permission bits of a unix socket (0600)",
    )
    machine = result.add_argument_group("the machine")
    _add_images(machine)
    _add_identity(machine)
    _add_bench(result.add_argument_group("what QEMU cannot do"))
    add("--pidfile", metavar="FILE", help="write the process id there; removed at the end")
    add("--ready-fd", metavar="N", type=int, help="write a line to this descriptor when ready")
    add("--log-qmp", metavar="FILE", help="append all QMP traffic to FILE, as JSON lines")
    add("-v", "--verbose", action="count", default=0, help="log to standard error; -vv: in detail")
    return result


def _add_images(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--disk",
        metavar="NAME=SIZE",
        action="append",
        default=[],
        help="a disk in memory (64M, 2G, ...); may be repeated",
    )
    add(
        "--image",
        metavar="PATH[,KEY=VALUE...]",
        action="append",
        default=[],
        help="a disk from an image file. Keys: name (disk0, disk1, ...), format (raw, qcow2, ...;"
        " raw), size (make a new image of this size), read-only (off); for new qcow2 images also"
        f" {', '.join(CREATE_KEYS)}; may be repeated",
    )
    add(
        "--load",
        metavar="FILE",
        help="go on with a machine that was saved (x-sim-checkpoint-save of the control monitor,"
        " 'save' of a mark in Python); FILE says all that options would say of the machine",
    )
    add(
        "--storage",
        choices=tuple(STORAGES),
        help="where image files live: 'memory' touches nothing on disk and takes any path,"
        " 'overlay' reads the host's files and keeps changes in memory, 'host' writes them"
        " (default: memory)",
    )
    for name, what in _ALLOW.items():
        option = f"--{name.replace('_', '-').removesuffix('-write')}"
        help_text = f"{what}; may be repeated"
        add(option, dest=name, metavar="DIR", action="append", help=help_text)
    add(
        "--memory-limit",
        metavar="SIZE",
        help="how much images in memory may take in all (512M, 2G, ...), as clients fill them; a"
        " write beyond it fails like on a disk that is full (default: as much as there is)",
    )


def _add_identity(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--as",
        dest="personality",
        choices=("system", "storage-daemon"),
        help="which of QEMU's programs to be; they differ in commands (default: system)",
    )
    add(
        "--version",
        choices=VERSIONS,
        metavar="X.Y",
        help=f"which version of QEMU to be: {', '.join(VERSIONS)} (default: {DEFAULT})",
    )
    add("--name", metavar="NAME", help="name of the guest, for query-name")
    add("--uuid", metavar="UUID", help="UUID of the guest, for query-uuid")
    add(
        "--board",
        choices=("none", "pc", "q35"),
        help="a machine with buses, which takes devices (default: none)",
    )
    add("--paused", action="store_true", help="start stopped (state prelaunch), until 'cont'")


def _add_bench(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--control",
        metavar="WHERE",
        help="serve the control monitor there: unix:PATH. It does what QEMU cannot do (see"
        " 'qmpd ctl --help')",
    )
    add(
        "--clock",
        choices=("real", "virtual", "held"),
        help="how time passes for the machine: 'real' as on the wall, 'virtual' jumps to the next"
        " timer whenever there is nothing to do, 'held' moves when the control monitor says so"
        " (default: real)",
    )
    add(
        "--seed",
        metavar="N",
        type=int,
        help="makes a run repeatable: names that the machine makes up, dates and thread ids",
    )
    add(
        "--power",
        action="store_true",
        help="keep the order of writes and flushes, so that the control monitor can cut the power",
    )
    add(
        "--schedule",
        metavar="N",
        type=int,
        help="a number that chooses, where QEMU may do things in one order or another",
    )
