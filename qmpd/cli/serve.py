"""``qmpd serve``: a machine on sockets, described in a few words."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from qmpd.base.console import flush_or_drop
from qmpd.block.images import MemoryStorage
from qmpd.cli.process import SOCKET_MODE, Process, ProcessOptions, make_access, run_program
from qmpd.cli.report import CommandLineError, Program, located
from qmpd.cli.serve_options import DEFAULTS, OF_MACHINE, parser
from qmpd.errors import GenericError, QmpError
from qmpd.machine.disks import Disk, add_disk, read_disk, read_image, read_size
from qmpd.profile.personality import Personality
from qmpd.profile.shipped import load

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from qmpd.api.belongings import Saved
    from qmpd.api.setup import Setup
    from qmpd.cli.bench_server import BenchServer
    from qmpd.server.server import Server


def main(argv: Sequence[str]) -> int:
    """Serve until the end; returns the process's status."""
    arguments = parser().parse_args(list(argv))
    program = Program("qmpd")
    given = [
        option
        for name, option in OF_MACHINE.items()
        # 0 is a seed
        if (value := getattr(arguments, name)) not in (None, []) and value is not False
    ]
    for name, default in DEFAULTS.items():
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
    from qmpd.machine.config import MachineConfig

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
