"""``qmpd record``, ``qmpd replay`` and ``qmpd compare``: what clients and servers have said."""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

from qmpd.base.console import flush_or_drop
from qmpd.cli.interrupt import interruptible
from qmpd.errors import GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.server.address import SocketAddress
    from qmpd.sim.record.recording import Said

WHERE: Final = "unix:PATH or tcp:HOST:PORT"

RECORD: Final = """\
Stand between the clients of a QMP server (a QEMU, or any other) and the server, change nothing,
and write what they say to FILE, a line of JSON for each message. It goes on until Ctrl-C.
"""

REPLAY: Final = """\
Listen like the server of a recorded session, and answer as it did. A client that asks something
else gets an error, and standard error tells of it; the status is then 1.
"""

COMPARE: Final = """\
Play the client's side of a recorded session to a machine of qmpd's, and print where its answers
and events differ from the recorded ones. The status is 1 if any do. Names that QEMU makes up,
dates, directories of paths and how far jobs have come may differ. The machine's disks must be
described, for the recording does not tell of them.
"""


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog=f"qmpd {command}", description=description)
    result.add_argument("file", metavar="FILE", help="the recording")
    return result


def _complain(command: str, text: str) -> None:
    print(f"qmpd {command}: {text}", file=sys.stderr, flush=True)


def read_where(text: str, option: str) -> SocketAddress:
    """An address of a command line.

    :raises GenericError: it is none
    """
    from qmpd.server.address import InetAddress, UnixAddress

    if text.startswith("unix:") and len(text) > len("unix:"):
        return UnixAddress(text.removeprefix("unix:"), mode=0o600)
    if match := re.fullmatch(r"tcp:(?:\[([^\]]*)\]|([^:]*)):([^:]+)", text):
        return InetAddress(match[1] or match[2] or "", match[3], nodelay=True)
    raise GenericError(f"{option} {text}: it is not {WHERE}")


def read_file(path: str) -> list[Said]:
    """The recording at `path`.

    :raises GenericError: it cannot be read
    """
    from qmpd.sim.record.recording import RecordingError, read_recording

    try:
        with open(path, encoding="utf-8") as file:
            return read_recording(file, path)
    except RecordingError as error:
        raise GenericError(str(error)) from None
    except UnicodeDecodeError:
        raise GenericError(f"'{path}' is no recording: it is no text") from None
    except OSError as error:
        raise GenericError(f"Could not open '{path}': {error.strerror}") from None


def record(argv: Sequence[str]) -> int:
    """Run ``qmpd record``; returns the status."""
    parser = _parser("record", RECORD)
    add = parser.add_argument
    add("--listen", metavar="WHERE", required=True, help=f"where clients connect: {WHERE}")
    add("--connect", metavar="WHERE", required=True, help="where the server listens, likewise")
    add("--redact", action="store_true", help="leave out names, paths, keys and other texts")
    add("--once", action="store_true", help="end when the first client has gone")
    options = parser.parse_args(list(argv))
    try:
        return _record(options)
    except QmpError as error:
        _complain("record", error.desc)
        return 2


def _record(options: argparse.Namespace) -> int:
    from qmpd.profile import load
    from qmpd.profile.shipped import VERSIONS
    from qmpd.server.proxy import Proxy
    from qmpd.sim.record.redact import Redaction, vocabulary
    from qmpd.sim.record.writer import Writer

    server = read_where(options.connect, "--connect")
    redaction = Redaction(vocabulary(*map(load, VERSIONS))) if options.redact else None
    with _listening(options.listen) as listeners, _create(options.file) as file:
        began = time.monotonic()

        def write(line: str) -> None:
            file.write(line + "\n")
            file.flush()

        writer = Writer(write, lambda: time.monotonic() - began, redaction)
        proxy = Proxy(listeners, server, writer, lambda text: _complain("record", text))
        _complain("record", f"listening at {options.listen}")
        try:
            if options.once:
                return 0 if interruptible(proxy.serve_one) else 1
            interruptible(proxy.serve)
        except KeyboardInterrupt:
            pass
        finally:
            proxy.close()
    return 0


@contextmanager
def _listening(text: str) -> Iterator[list[socket.socket]]:
    """Sockets that listen at ``--listen``, as long as the block lasts.

    :raises GenericError: nothing can listen there
    """
    from qmpd.server.listening import Listening

    listening = Listening(read_where(text, "--listen"))
    try:
        for listener in listening.sockets:
            listener.listen(128)
        yield listening.sockets
    finally:
        listening.close()


def _create(path: str) -> TextIO:
    """A new file that its owner alone can read: a session may have keys in it.

    :raises GenericError: it cannot be made
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CLOEXEC, 0o600)

    try:
        return open(path, "w", encoding="utf-8", opener=opener)
    except OSError as error:
        raise GenericError(f"Could not open '{path}': {error.strerror}") from None


def replay(argv: Sequence[str]) -> int:
    """Run ``qmpd replay``; returns the status."""
    parser = _parser("replay", REPLAY)
    parser.add_argument(
        "--listen", metavar="WHERE", required=True, help=f"where clients connect: {WHERE}"
    )
    options = parser.parse_args(list(argv))
    try:
        return _replay(options)
    except QmpError as error:
        _complain("replay", error.desc)
        return 2
    except KeyboardInterrupt:
        return 1


def _replay(options: argparse.Namespace) -> int:
    from qmpd.server.replaying import replay as play
    from qmpd.sim.record.script import Script

    said = read_file(options.file)
    numbers = sorted({entry.connection for entry in said})
    scripts = [Script([e for e in said if e.connection == number]) for number in numbers]
    with _listening(options.listen) as listeners:
        _complain("replay", f"listening at {options.listen}")
        good = interruptible(
            lambda: play(listeners, scripts, lambda text: _complain("replay", text))
        )
    return 0 if good else 1


def compare(argv: Sequence[str]) -> int:
    """Run ``qmpd compare``; returns the status."""
    parser = _parser("compare", COMPARE)
    add = parser.add_argument
    add("--version", metavar="X.Y", default="10.0", help="the version to be (default: 10.0)")
    add(
        "--disk",
        metavar="NAME=SIZE",
        action="append",
        default=[],
        help="a disk in memory; may be repeated",
    )
    add(
        "--image",
        metavar="NAME=PATH[,KEY=VALUE...]",
        action="append",
        default=[],
        help="a disk from an image file, with the keys of 'qmpd serve --image'; may be repeated",
    )
    add(
        "--storage",
        choices=("memory", "overlay"),
        default="memory",
        help="where image files live: 'memory' knows no file of the host, 'overlay' reads them"
        " and keeps changes in memory (default: memory)",
    )
    add(
        "--allow-read",
        metavar="DIR",
        action="append",
        help="with --storage overlay: what the session's requests may read; may be repeated",
    )
    add(
        "--as",
        dest="personality",
        choices=("system", "storage-daemon"),
        default="system",
        help="which of QEMU's programs to be (default: system)",
    )
    options = parser.parse_args(list(argv))
    try:
        status = _compare(options)
    except (ValueError, QmpError) as error:
        _complain("compare", error.desc if isinstance(error, QmpError) else str(error))
        return 2
    flush_or_drop(sys.stdout)
    return status


def _compare(options: argparse.Namespace) -> int:
    from qmpd.api.machine import Machine
    from qmpd.sim.record.compare import Comparison

    said = read_file(options.file)
    machine = Machine(
        disks=dict(_pair(text, "--disk") for text in options.disk),
        images=dict(_pair(text, "--image") for text in options.image),
        storage=options.storage,
        allow_read=options.allow_read,
        version=options.version,
        personality=options.personality,
    )
    comparison = Comparison(machine._core.monitors, machine._core.clock)
    count = 0
    for finding in comparison.play(said):
        print(finding)
        count += 1
    compared = f"{comparison.answers} answers and {comparison.events} events"
    print(f"{compared} compared: {count or 'no'} difference{'' if count == 1 else 's'}")
    return 1 if count else 0


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, rest = text.partition("=")
    if not equals or not name or not rest:
        what = "NAME=SIZE (for example disk0=64M)" if option == "--disk" else "NAME=PATH"
        raise GenericError(f"{option}: '{text}' is not {what}")
    return name, rest
