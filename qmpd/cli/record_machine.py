"""``qmpd record-machine``: make the answers to probing commands anew from an installed QEMU."""

from __future__ import annotations

import argparse
import json
import os
import sys
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from qmpd.cli.recorder import tables
from qmpd.cli.recorder.emulator import Emulator, Gone, Refused
from qmpd.cli.recorder.hardware import hardware
from qmpd.cli.recorder.listings import daemon_helps, device_models, helps, listings
from qmpd.cli.recorder.processors import processors
from qmpd.machine.devices.kinds import KINDS
from qmpd.profile.devices import rows_of
from qmpd.profile.personality import Personality
from qmpd.profile.recorded.store import path_of
from qmpd.profile.shipped import DEFAULT, directory

_MONITOR: Final = ("-chardev", "socket,id=m,fd={fd}", "-mon", "m,mode=control")
_DAEMONS_MONITOR: Final = ("--chardev", "socket,id=m,fd={fd}", "--monitor", "m")
_OFTEN: Final = (
    *("floppy", "ide-cd", "ide-hd", "nec-usb-xhci", "nvme", "pcie-root-port", "piix3-usb-uhci"),
    *("qemu-xhci", "scsi-cd", "scsi-hd", "usb-ehci", "usb-storage"),
    *("virtio-blk-device", "virtio-blk-pci", "virtio-scsi-device", "virtio-scsi-pci"),
)
"""The device models whose properties are in a small file of their own."""

_BARE: Final = ("-accel", "tcg", "-display", "none", "-nodefaults", "-S")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``qmpd record-machine``.

    :param argv: arguments after ``qmpd record-machine``; None: those of the process
    :returns: exit status: 0, or 1 when a program does not start or refuses
    :raises SystemExit: usage errors (status 2), ``--help``
    """
    arguments = _parser().parse_args(argv)
    try:
        _record_system(arguments.emulator, arguments.output, processors_too=not arguments.quick)
        if not arguments.quick:
            _record_hardware(arguments.emulator, arguments.firmware, arguments.output)
        if arguments.storage_daemon:
            _record_storage_daemon(arguments.storage_daemon, arguments.output)
    except FileNotFoundError as error:
        print(f"qmpd record-machine: no program '{error.filename}'", file=sys.stderr)
        return 1
    except (Gone, Refused) as error:
        why = str(error) or "it ended"
        print(f"qmpd record-machine: the program cannot be asked: {why}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qmpd record-machine",
        description="Ask an installed QEMU what management programs ask before they start a "
        "machine: machine types, CPU models, QOM types and their properties, options; and for what "
        "its devices are made of. qmpd answers from what is written. It takes minutes: a machine "
        "is started for each CPU model, each "
        "device model and each machine type.",
    )
    parser.add_argument("--emulator", metavar="PROGRAM", default="qemu-system-x86_64")
    parser.add_argument(
        "--storage-daemon", metavar="PROGRAM", help="record the types of this program, too"
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        default=directory(DEFAULT),
        help="directory of a profile (default: qmpd's own)",
    )
    parser.add_argument(
        "--firmware",
        metavar="DIR",
        action="append",
        default=[],
        help="where the program finds firmware of devices, where it does not by itself",
    )
    parser.add_argument(
        "--quick", action="store_true", help="leave out processors and devices, which take the time"
    )
    return parser


def _record_system(program: str, output: str, *, processors_too: bool) -> None:
    write = partial(_write, output, Personality.SYSTEM)
    write("listings", listings(program))
    write("helps", helps(program))
    with Emulator((program, "-machine", "none", *_BARE), _MONITOR) as emulator:
        for name, ask in (
            ("types", tables.types),
            ("properties", tables.properties),
            ("machines", tables.machines),
            ("options", tables.options),
            ("cpus", tables.cpus),
            ("trace", tables.trace),
        ):
            write(name, ask(emulator))
        shown = emulator.ask("human-monitor-command", **{"command-line": "info qdm"})
        write("devices", device_models(shown))
        _write_often(output, emulator)
        found = tables.machines(emulator)["machines"]
        made_of = tables.processors_of(found)
        write("compat", tables.compat_of(found, tables.ancestors(emulator, KINDS)))
        models = [known["name"] for known in emulator.ask("query-cpu-definitions")]
    if processors_too:

        def start(model: str) -> Emulator:
            return Emulator((program, "-machine", "pc", "-cpu", model, *_BARE), _MONITOR)

        write("processors", {**processors(start, models, say), "compat": made_of})


def _write_often(output: str, emulator: Emulator) -> None:
    """Write ``device-properties.json``, which is quickly read."""
    found = {
        model: rows_of(
            emulator.ask("qom-list-properties", typename=model),
            emulator.ask("device-list-properties", typename=model),
        )
        for model in _OFTEN
    }
    with open(os.path.join(output, "device-properties.json"), "w", encoding="utf-8") as file:
        json.dump(found, file, separators=(",", ":"))
        file.write("\n")


def _record_hardware(program: str, firmware: Sequence[str], output: str) -> None:
    found = [word for folder in firmware for word in ("-L", folder)]

    def start(machine: str, words: Sequence[str]) -> Emulator:
        line = (program, *found, "-machine", machine, "-m", "64M", *_BARE, *words)
        return Emulator(line, _MONITOR)

    _write(output, Personality.SYSTEM, "hardware", hardware(start, list(KINDS), say))


def say(what: str) -> None:
    """Tell what is looked at."""
    print(what, file=sys.stderr)


def _record_storage_daemon(program: str, output: str) -> None:
    _write(output, Personality.STORAGE_DAEMON, "helps", daemon_helps(program))
    with Emulator((program,), _DAEMONS_MONITOR) as emulator:
        _write(output, Personality.STORAGE_DAEMON, "types", tables.types(emulator))
        _write(output, Personality.STORAGE_DAEMON, "properties", tables.properties(emulator))


def _write(output: str, personality: Personality, name: str, table: dict[str, Any]) -> None:
    path = path_of(output, personality, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    text = json.dumps(table, separators=(",", ":")).encode()
    # the header of gzip has no time in it, so that the same answers make the same file
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    with open(path, "wb") as file:
        file.write(packer.compress(text) + packer.flush())
