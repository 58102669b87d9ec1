"""``qmpd serve``: a machine on sockets, described in a few words."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from qmpd.base.console import flush_or_drop
from qmpd.block.images import STORAGES, MemoryStorage
from qmpd.cli.process import SOCKET_MODE, Process, ProcessOptions, make_access, run_program
from qmpd.cli.report import CommandLineError, Program, located
from qmpd.errors import GenericError, QmpError
from qmpd.machine.disks import CREATE_KEYS, Disk, add_disk, read_disk, read_image, read_size
from qmpd.profile.personality import Personality
from qmpd.profile.shipped import DEFAULT, VERSIONS, load

if TYPE_CHECKING:
    from qmpd.api.belongings import Saved
    from qmpd.api.setup import Setup
    from qmpd.cli.bench_server import BenchServer
    from qmpd.server.server import Server

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


_DEFAULTS: Final = {
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

_OF_MACHINE: Final = {
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
    _add_machine(result.add_argument_group("the machine"))
    _add_bench(result.add_argument_group("what QEMU cannot do"))
    add("--pidfile", metavar="FILE", help="write the process id there; removed at the end")
    add("--ready-fd", metavar="N", type=int, help="write a line to this descriptor when ready")
    add("--log-qmp", metavar="FILE", help="append all QMP traffic to FILE, as JSON lines")
    add("-v", "--verbose", action="count", default=0, help="log to standard error; -vv: in detail")
    return result


def _add_machine(group: argparse._ArgumentGroup) -> None:
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


def main(argv: Sequence[str]) -> int:
    """Serve until the end; returns the process's status."""
    arguments = parser().parse_args(list(argv))
    program = Program("qmpd")
    given = [
        option
        for name, option in _OF_MACHINE.items()
        # 0 is a seed
        if (value := getattr(arguments, name)) not in (None, []) and value is not False
    ]
    for name, default in _DEFAULTS.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
    if arguments.verbose:
        from qmpd.cli.logs import log_to_stderr

        log_to_stderr(arguments.verbose)
    status = run_program(program, lambda _: _serve(program, arguments, given))
    for stream in (sys.stdout, sys.stderr):
        flush_or_drop(stream)
    return status


def _serve(program: Program, arguments: argparse.Namespace, given: Sequence[str]) -> int:
    if arguments.load is not None and given:
        raise CommandLineError(
            f"the file says what the machine is; it cannot be given with {', '.join(given)}",
            location=f"--load {arguments.load}",
        )
    disks = [_read_disk(text) for text in arguments.disk]
    disks += [_read_image(text, number) for number, text in enumerate(arguments.image)]
    loaded = None if arguments.load is None else _read_saved(arguments.load)
    allowed = (arguments.allow_write, arguments.allow_read, arguments.allow_sockets)
    access = make_access(arguments.storage, *allowed)
    limit = _read_limit(arguments.memory_limit)
    process = Process(
        program,
        ProcessOptions(pid_file=arguments.pidfile, ready_fd=arguments.ready_fd, is_own=True),
    )
    process.begin()
    if _is_for_bench(arguments):
        setup, saved = loaded or (_bench_setup(arguments), None)
        setup = replace(
            setup,
            allow_write=arguments.allow_write,
            allow_read=arguments.allow_read,
            allow_sockets=arguments.allow_sockets,
            memory_limit=limit,
        )
        return _serve_on_bench(process, arguments, setup, saved)
    from qmpd.machine.machine import MachineConfig

    config = MachineConfig(
        profile=load(arguments.version),
        personality=Personality.SYSTEM
        if arguments.personality == "system"
        else Personality.STORAGE_DAEMON,
        name=arguments.name,
        paused=arguments.paused,
        cpus=1,
    )
    if arguments.uuid is not None:
        config = replace(config, uuid=_read_uuid(arguments.uuid))
    process.build(access, config, arguments.log_qmp, memory_limit=limit)
    try:
        for disk in disks:
            # these bytes live in memory, wherever those of image files do
            private = disk.path is None and arguments.storage != "memory"
            _add_disk(process.server, disk, private=private)
        for number, text in enumerate(arguments.qmp):
            _add_monitor(process.server, f"monitor{number}", text)
    except QmpError:
        process.abandon()
        raise
    return process.serve()


def _is_for_bench(arguments: argparse.Namespace) -> bool:
    """Whether something is asked for that only a machine on the test bench has."""
    return (
        arguments.control is not None
        or arguments.load is not None
        or arguments.clock != "real"
        or arguments.seed is not None
        or arguments.board != "none"
        or arguments.power
        or arguments.schedule is not None
    )


def _bench_setup(arguments: argparse.Namespace) -> Setup:
    """What the options say of the machine."""
    from qmpd.api.setup import Setup

    setup = Setup(
        disks=dict(text.split("=", 1) for text in arguments.disk),
        images={f"disk{number}": text for number, text in enumerate(arguments.image)},
        storage=arguments.storage,
        version=arguments.version,
        clock=arguments.clock,
        seed=arguments.seed,
        personality=arguments.personality,
        name=arguments.name,
        paused=arguments.paused,
        power=arguments.power,
        schedule=arguments.schedule,
        board=arguments.board,
    )
    if arguments.uuid is not None:
        setup = replace(setup, uuid=_read_uuid(arguments.uuid))
    return setup


def _read_saved(filename: str) -> tuple[Setup, Saved]:
    """The machine in a file.

    :raises CommandLineError: there is none
    """
    from qmpd.api.marks import read_saved

    location = f"--load {filename}"
    try:
        return read_saved(filename)
    except OSError as error:
        text = f"Could not open '{filename}': {error.strerror}"
        raise CommandLineError(text, location=location) from None
    except ValueError as error:
        raise CommandLineError(str(error), location=location) from None


def _serve_on_bench(
    process: Process, arguments: argparse.Namespace, setup: Setup, saved: Saved | None
) -> int:
    server = process.build_bench(setup, arguments.log_qmp, saved)
    try:
        try:
            server.set_up()
        except QmpError as error:
            where = "--disk, --image" if saved is None else f"--load {arguments.load}"
            raise located(error, where) from None
        for number, text in enumerate(arguments.qmp):
            _add_monitor(server, f"monitor{number}", text)
        if arguments.control is not None:
            process.add_control(arguments.control, "--control")
    except QmpError:
        process.abandon()
        raise
    return process.serve()


def _read_uuid(text: str) -> str:
    import uuid

    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise CommandLineError(f"'{text}' is no UUID", location="--uuid") from None


def _read_limit(text: str | None) -> int | None:
    try:
        return None if text is None else read_size(text)
    except GenericError as error:
        raise located(error, "--memory-limit") from None


def _read_disk(text: str) -> Disk:
    name, equals, size = text.partition("=")
    if not equals:
        raise CommandLineError(
            f"'{text}' is not NAME=SIZE (for example disk0=64M)", location="--disk"
        )
    try:
        return read_disk(name, size)
    except GenericError as error:
        raise located(error, "--disk") from None


def _read_image(text: str, number: int) -> Disk:
    try:
        return read_image(text, f"disk{number}")
    except GenericError as error:
        raise located(error, f"--image {text}") from None


def _add_disk(server: Server, disk: Disk, *, private: bool) -> None:
    """Add a disk.

    :param private: whether it needs a storage of its own
    """
    machine = server.machine
    own = MemoryStorage(room=machine.services.storage.room) if private else None
    try:
        server.run_now(add_disk(machine, disk, private=own))
    except QmpError as error:
        option = "--disk" if disk.path is None else "--image"
        raise located(error, f"{option} {disk.name}") from None


def _add_monitor(server: Server | BenchServer, label: str, text: str) -> None:
    from qmpd.server.address import InetAddress, UnixAddress
    from qmpd.server.chardev.chardev import Chardev
    from qmpd.server.chardev.socket import SocketChardev
    from qmpd.server.chardev.stdio import StdioChardev

    location = f"--qmp {text}"
    where, *parameters = text.split(",")
    keys = dict(parameter.partition("=")[::2] for parameter in parameters)
    pretty = keys.pop("pretty", "off") in ("on", "")
    mode = keys.pop("mode", None)
    for key in keys:
        raise CommandLineError(f"there is no key '{key}'", location=location)
    try:
        chardev: Chardev
        if where == "stdio":
            chardev = StdioChardev(label, server.loop)
        elif where.startswith("unix:") and len(where) > len("unix:"):
            bits = SOCKET_MODE if mode is None else int(mode, 8)
            unix = UnixAddress(where.removeprefix("unix:"), mode=bits)
            chardev = SocketChardev(label, server.loop, unix, server=True, neighbours=server)
        elif match := re.fullmatch(r"tcp:(?:\[([^\]]*)\]|([^:]*)):([^:]+)", where):
            inet = InetAddress(match[1] or match[2] or "", match[3], nodelay=True)
            chardev = SocketChardev(label, server.loop, inet, server=True, neighbours=server)
        else:
            raise CommandLineError(
                "where is that? unix:PATH, tcp:HOST:PORT or stdio", location=location
            )
        server.chardevs.add(chardev)
        server.add_qmp(chardev, pretty=pretty)
    except ValueError:
        raise CommandLineError(f"'{mode}' is no octal mode", location=location) from None
    except QmpError as error:
        raise located(error, location) from None
