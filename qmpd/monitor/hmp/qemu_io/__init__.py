"""HMP qemu-io: I/O on a block backend, for tests.

Commands, options and texts are those of QEMU's qemu-io-cmds.c.  Results are printed on the standard
output of the machine's host; errors are shown in the monitor.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.permission_bits import RESIZE, WRITE
from qmpd.errors import QmpError
from qmpd.loop.apart import outcome
from qmpd.monitor.hmp.line import UsageError
from qmpd.monitor.hmp.qemu_io import breakpoints, other, reading, writing
from qmpd.monitor.hmp.qemu_io.base import IoCommand, QemuIo, Transfer, Usage
from qmpd.options.getopt import GetoptError

if TYPE_CHECKING:
    from qmpd.base.scalars import SizeForm
    from qmpd.block.io.backend import BlockBackend
    from qmpd.machine.machine import Machine
    from qmpd.profile.rules import Rules

__all__ = ["IO_COMMANDS", "IoLine", "run"]

MANY: Final = 1024
"""Words of a line from which on it is long to read."""

MOST_OPTIONS: Final = 32
"""Words of a line that are looked through for an option."""

_FLUSHING: Final = frozenset(("f", "flush", "reopen", "t", "truncate"))

_WORD: Final = re.compile("[^ ]+")


class IoLine:
    """A line of qemu-io that has been read, without anything of the machine.

    :param text: the line
    :param rules: the rules of the version whose qemu-io reads it
    """

    def __init__(self, text: str, rules: Rules) -> None:
        words = [word[0] for word in _WORD.finditer(text)]
        self.name = words[0] if words else ""
        self.count = len(words)
        """How many words there are, the name included."""
        options = (word for word in words[1:MOST_OPTIONS] if word[0] == "-")
        self.flushes = self.name in _FLUSHING or any("f" in option for option in options)
        """Whether it may wait for what was written before (option -f)."""
        command = IO_COMMANDS.get(self.name)
        self.command = None if command is None else command.as_in(rules)
        letters = None if self.command is None else self.command.letters
        del words[:1]
        self.given: Callable[[], Any] = (
            (lambda: words)
            if letters is None
            else outcome(partial(_transfer, words, letters, rules.sizes))
        )
        """Returns what the command is given, or raises what is wrong with it."""


def _transfer(words: list[str], letters: str, sizes: SizeForm) -> Transfer:
    transfer = Transfer(words, letters, sizes)
    if len(words) >= MANY:
        transfer.read_ahead()
    return transfer


async def run(machine: Machine, backend: BlockBackend, line: IoLine) -> str:
    """Run one command; returns what the monitor shows.

    :param backend: the backend to read and write
    """
    io = QemuIo(machine, backend)
    if not line.name:
        return ""
    command = line.command
    if command is None:
        machine.host.report(f'command "{line.name}" not found\n')
        return ""
    if not _count_is_right(machine, command, line):
        return ""
    usage = f"{command.name} {command.usage or ''} -- {command.summary}\n"
    try:
        if command.writes and backend.node is not None:
            backend.require(WRITE | RESIZE if command.resizes else WRITE)
        await command.handler(io, line.given())
    except Usage:
        io.out(usage)
    except GetoptError as error:
        machine.host.report(f"{line.name}: {error}\n")
        io.out(usage)
    except UsageError as error:
        io.out(machine.profile.rules.monitor_words(error.text))
    except QmpError as error:
        return error.report
    return ""


def _count_is_right(machine: Machine, command: IoCommand, line: IoLine) -> bool:
    low, high, count = command.min_arguments, command.max_arguments, line.count - 1
    if count >= low and (high is None or count <= high):
        return True
    if high is None:
        expected = f"at least {low} arguments"
    elif low == high:
        expected = f"{low} arguments"
    else:
        expected = f"between {low} and {high} arguments"
    machine.host.report(f"bad argument count {count} to {line.name}, expected {expected}\n")
    return False


async def _help(io: QemuIo, words: list[str]) -> None:
    rules = io.machine.profile.rules
    known = {name: there for name, c in IO_COMMANDS.items() if (there := c.as_in(rules))}
    if not words:
        for name in sorted({command.name for command in known.values()}):
            io.out(_help_line(known[name], name))
        io.out("\nUse 'help commandname' for extended help.\n")
    elif words[0] in known:
        io.out(_help_line(known[words[0]], words[0]))
    else:
        io.out(f"command {words[0]} not found\n")


def _help_line(command: IoCommand, name: str) -> str:
    usage = "" if command.usage is None else f"{command.usage} "
    return f"{name} {usage}-- {command.summary}\n"


_TABLE: Final = (
    IoCommand("abort", other.abort, summary="simulate a program crash using abort(3)"),
    IoCommand(
        "aio_discard",
        other.aio_discard,
        min_arguments=2,
        max_arguments=None,
        usage="[-Cq] off len",
        summary="asynchronously discards a number of bytes",
        writes=True,
        letters="Cq",
        rule="aio-discard",
    ),
    IoCommand("aio_flush", other.aio_flush, summary="completes all outstanding aio requests"),
    IoCommand(
        "aio_read",
        reading.aio_read,
        min_arguments=2,
        max_arguments=None,
        usage="[-Ciqrv] [-P pattern] off len [len..]",
        summary="asynchronously reads a number of bytes",
        letters="CP:iqrv",
    ),
    IoCommand(
        "aio_write",
        writing.aio_write,
        min_arguments=2,
        max_arguments=None,
        usage="[-Cfiqruz] [-P pattern] off len [len..]",
        summary="asynchronously writes a number of bytes",
        writes=True,
        letters="CfiP:qruz",
    ),
    IoCommand(
        "alloc",
        other.alloc,
        min_arguments=1,
        max_arguments=2,
        usage="offset [count]",
        summary="checks if offset is allocated in the file",
        short="a",
    ),
    IoCommand(
        "break",
        breakpoints.set_break,
        min_arguments=2,
        max_arguments=2,
        usage="event tag",
        summary="sets a breakpoint on event and tags the stopped request as tag",
    ),
    IoCommand(
        "discard",
        other.discard,
        min_arguments=2,
        max_arguments=None,
        usage="[-Cq] off len",
        summary="discards a number of bytes at a specified offset",
        short="d",
        writes=True,
        letters="Cq",
    ),
    IoCommand("flush", other.flush, summary="flush all in-core file state to disk", short="f"),
    IoCommand(
        "help",
        _help,
        max_arguments=1,
        usage="[command]",
        summary="help for one or all commands",
        short="?",
    ),
    IoCommand("info", other.info, summary="prints information about the current file", short="i"),
    IoCommand("length", other.length_of, summary="gets the length of the current file", short="l"),
    IoCommand("map", other.map_, usage="", summary="prints the allocated areas of a file"),
    IoCommand(
        "read",
        reading.read,
        min_arguments=2,
        max_arguments=None,
        usage="[-abCqrv] [-P pattern [-s off] [-l len]] off len",
        summary="reads a number of bytes at a specified offset",
        short="r",
        letters="bCl:pP:qrs:v",
    ),
    IoCommand(
        "readv",
        reading.readv,
        min_arguments=2,
        max_arguments=None,
        usage="[-Cqrv] [-P pattern] off len [len..]",
        summary="reads a number of bytes at a specified offset",
        letters="CP:qrv",
    ),
    IoCommand(
        "remove_break",
        breakpoints.remove_break,
        min_arguments=1,
        max_arguments=1,
        usage="tag",
        summary="remove a breakpoint by tag",
    ),
    IoCommand(
        "reopen",
        other.reopen,
        max_arguments=None,
        usage="[(-r|-w)] [-c cache] [-o options]",
        summary="reopens an image with new options",
        letters="c:o:rw",
    ),
    IoCommand(
        "resume",
        breakpoints.resume,
        min_arguments=1,
        max_arguments=1,
        usage="tag",
        summary="resumes the request tagged as tag",
    ),
    IoCommand(
        "sigraise",
        other.sigraise,
        min_arguments=1,
        max_arguments=1,
        usage="signal",
        summary="raises a signal",
    ),
    IoCommand(
        "sleep",
        other.sleep,
        min_arguments=1,
        max_arguments=1,
        summary="waits for the given value in milliseconds",
    ),
    IoCommand(
        "truncate",
        other.truncate,
        min_arguments=1,
        max_arguments=3,
        usage="[-m prealloc_mode] off",
        summary="truncates the current file at the given offset",
        short="t",
        writes=True,
        resizes=True,
    ),
    IoCommand(
        "wait_break",
        breakpoints.wait_break,
        min_arguments=1,
        max_arguments=1,
        usage="tag",
        summary="waits for the suspension of a request",
    ),
    IoCommand(
        "write",
        writing.write,
        min_arguments=2,
        max_arguments=None,
        usage="[-bcCfnqruz] [-P pattern | -s source_file] off len",
        summary="writes a number of bytes at a specified offset",
        short="w",
        writes=True,
        letters="bcCfnpP:qrs:uz",
    ),
    IoCommand(
        "writev",
        writing.writev,
        min_arguments=2,
        max_arguments=None,
        usage="[-Cfqr] [-P pattern] off len [len..]",
        summary="writes a number of bytes at a specified offset",
        writes=True,
        letters="CfqrP:",
    ),
    IoCommand(
        "zone_append",
        other.unsupported("zone append failed"),
        min_arguments=2,
        max_arguments=2,
        usage="offset len [len..]",
        summary="append write a number of bytes at a specified offset",
        writes=True,
        rule="zones",
    ),
    *(
        IoCommand(
            f"zone_{verb}",
            other.unsupported(f"zone {verb} failed"),
            min_arguments=2,
            max_arguments=2,
            usage="offset len" if verb != "report" else "offset number",
            summary=summary,
            writes=verb != "report",
            rule="zones",
        )
        for verb, summary in (
            ("close", "close a range of zones in zone block device"),
            ("finish", "finish a range of zones in zone block device"),
            ("open", "explicit open a range of zones in zone block device"),
            ("report", "report zone information"),
            ("reset", "reset a zone write pointer in zone block device"),
        )
    ),
)

IO_COMMANDS: Final = {
    name: command for command in _TABLE for name in (command.name, command.short) if name
}
"""qemu-io's commands by name and by short name."""
