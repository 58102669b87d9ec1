"""HMP qemu-io: I/O on a block backend as a guest would do it, for tests.

Commands, options and texts are those of QEMU's qemu-io.  Results go to the
machine's standard output; what QEMU reports as an error is the monitor's.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qmpd.block.backend import BlockBackend
from qmpd.block.permissions import RESIZE, WRITE
from qmpd.errors import BlockIOError, QmpError
from qmpd.hmp.getopt import GetoptError, getopt
from qmpd.hmp.line import UsageError
from qmpd.hmp.quantities import parse_pattern, parse_size, quantity

if TYPE_CHECKING:
    from qmpd.machine import Machine

_REQUEST_MAX: Final = 2147483136
"""Largest request with data, bytes (QEMU's BDRV_REQUEST_MAX_BYTES)."""

_CACHE_MODES: Final = ("none", "off", "directsync", "writeback", "unsafe", "writethrough")


@dataclass(frozen=True, slots=True)
class IoCommand:
    """One command of qemu-io; `max_arguments` None for any number."""

    name: str
    handler: Callable[[QemuIo, list[str]], Awaitable[None]]
    min_arguments: int = 0
    max_arguments: int | None = 0
    usage: str | None = None
    summary: str = ""
    short: str = ""
    writes: bool = False
    resizes: bool = False


class _Usage(Exception):
    """The command was used wrongly: its usage line is shown."""


@dataclass(slots=True)
class _Transfer:
    """The options of a command that moves data."""

    options: dict[str, str]
    operands: list[str]

    def __contains__(self, letter: str) -> bool:
        return letter in self.options


class QemuIo:
    """qemu-io on one backend.

    :param backend: what is read and written
    """

    def __init__(self, machine: Machine, backend: BlockBackend) -> None:
        self.machine = machine
        self.backend = backend

    async def run(self, line: str) -> str:
        """Run one command; returns what the monitor shows."""
        words = line.split(" ")
        words = [word for word in words if word]
        if not words:
            return ""
        command = IO_COMMANDS.get(words[0])
        if command is None:
            self.machine.stderr(f'command "{words[0]}" not found\n')
            return ""
        if not self._count_is_right(command, words):
            return ""
        try:
            if command.writes and self.backend.node is not None:
                self.backend.require(WRITE | RESIZE if command.resizes else WRITE)
            await command.handler(self, words[1:])
        except _Usage:
            self.out(f"{command.name} {command.usage or ''} -- {command.summary}\n")
        except GetoptError as error:
            self.machine.stderr(f"{words[0]}: {error}\n")
            self.out(f"{command.name} {command.usage or ''} -- {command.summary}\n")
        except UsageError as error:
            self.out(error.text)
        except QmpError as error:
            return f"{error.desc}\n" + (f"{error.hint}\n" if error.hint else "")
        return ""

    def out(self, text: str) -> None:
        """Print to the machine's standard output."""
        self.machine.stdout(text)

    def _count_is_right(self, command: IoCommand, words: Sequence[str]) -> bool:
        low, high, count = command.min_arguments, command.max_arguments, len(words) - 1
        if count >= low and (high is None or count <= high):
            return True
        if high is None:
            expected = f"at least {low} arguments"
        elif low == high:
            expected = f"{low} arguments"
        else:
            expected = f"between {low} and {high} arguments"
        self.machine.stderr(f"bad argument count {count} to {words[0]}, expected {expected}\n")
        return False

    def report(
        self, verb: str, offset: int, count: int, total: int, began: int, terse: bool
    ) -> None:
        """Print what was done and how fast; `began` is a moment of the machine's clock."""
        seconds = max(self.machine.clock.now() - began, 1000) / 1e9
        minutes, rest = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        if terse:
            stamp = f"{hours:.0f}:{minutes:02.0f}:{int(rest):02d}.{int(rest % 1 * 100):02d}"
            self.out(f"{total},1,{stamp},{total / seconds:.3f},{1 / seconds:.3f}\n")
            return
        stamp = f"{int(rest):02d}.{int(rest % 1 * 100):02d} sec"
        if hours or minutes:
            stamp = f"{hours:.0f}:{minutes:02.0f}:{stamp[:5]}"
        self.out(f"{verb} {total}/{count} bytes at offset {offset}\n")
        rate = f"{quantity(total / seconds)}/sec and {1 / seconds:.4f} ops/sec"
        self.out(f"{quantity(total)}, 1 ops; {stamp} ({rate})\n")


def _transfer(words: list[str], letters: str, *, exactly: int | None) -> _Transfer:
    options, operands = getopt(words, letters)
    for letter in "P":
        if letter in options:
            parse_pattern(options[letter])
    if (exactly is not None and len(operands) != exactly) or len(operands) < 2:
        raise _Usage
    return _Transfer(options, operands)


def _length(text: str, *, unlimited: bool = False) -> int:
    count = parse_size(text)
    if count > _REQUEST_MAX and not unlimited:
        raise UsageError(f"length cannot exceed {_REQUEST_MAX}, given {text}\n")
    return count


def _sector_aligned(name: str, value: int) -> None:
    if value % 512:
        raise UsageError(f"{value} is not a sector-aligned value for '{name}'\n")


def _dump(data: bytes, offset: int) -> str:
    lines = []
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        digits = "".join(f"{byte:02x} " for byte in row)
        shown = "".join(chr(b) if chr(b).isascii() and chr(b).isalnum() else "." for b in row)
        lines.append(f"{offset + start:08x}:  {digits} {shown}\n")
    return "".join(lines)


async def _read(io: QemuIo, words: list[str]) -> None:
    request = _transfer(words, "bCl:pP:qrs:v", exactly=2)
    if "b" in request and "p" in request:
        raise UsageError("-b and -p cannot be specified at the same time\n")
    start = parse_size(request.options["s"]) if "s" in request else 0
    length = parse_size(request.options["l"]) if "l" in request else None
    offset = parse_size(request.operands[0])
    count = _length(request.operands[1])
    if "P" not in request and ("l" in request or "s" in request):
        raise _Usage
    if length is None:
        length = count - start
    if length < 0 or start + length > count:
        raise UsageError("pattern verification range exceeds end of read data\n")
    if "b" in request:
        _sector_aligned("offset", offset)
        _sector_aligned("count", count)
        raise UsageError(f"read failed: {os.strerror(errno.ENOTSUP)}\n")
    began = io.machine.clock.now()
    data = await _pread(io, offset, count, "read")
    _verify(io, request, data, offset, start, length)
    if "q" in request:
        return
    if "v" in request:
        io.out(_dump(data, offset))
    io.report("read", offset, count, count, began, "C" in request)


def _verify(
    io: QemuIo, request: _Transfer, data: bytes, offset: int, start: int, length: int
) -> None:
    if "P" not in request:
        return
    pattern = bytes([parse_pattern(request.options["P"])])
    if data[start : start + length] != pattern * length:
        io.out(f"Pattern verification failed at offset {offset + start}, {length} bytes\n")


async def _pread(io: QemuIo, offset: int, count: int, what: str) -> bytes:
    try:
        return await io.backend.pread(offset, count)
    except BlockIOError as error:
        raise UsageError(f"{what} failed: {error.desc}\n") from None


def _lengths(texts: Sequence[str]) -> list[int]:
    lengths = [_length(text) for text in texts]
    if sum(lengths) > _REQUEST_MAX:
        raise UsageError("The total number of bytes exceed the maximum size\n")
    return lengths


async def _readv(io: QemuIo, words: list[str]) -> None:
    request = _transfer(words, "CP:qrv", exactly=None)
    await _vector_read(io, request, "readv", account=False)


async def _aio_read(io: QemuIo, words: list[str]) -> None:
    request = _transfer(words, "CP:iqrv", exactly=None)
    if "i" in request:
        io.backend.account_invalid("rd")
        return
    await _vector_read(io, request, "readv", account=True)


async def _vector_read(io: QemuIo, request: _Transfer, what: str, *, account: bool) -> None:
    offset = parse_size(request.operands[0])
    count = sum(_lengths(request.operands[1:]))
    began = io.machine.clock.now()
    try:
        data = await io.backend.pread(offset, count)
    except BlockIOError as error:
        if account:
            io.backend.account_failed("rd", io.machine.clock.now() - began)
        raise UsageError(f"{what} failed: {error.desc}\n") from None
    _verify(io, request, data, offset, 0, count)
    if account:
        io.backend.account_done("rd", count, io.machine.clock.now() - began)
    if "q" in request:
        return
    if "v" in request:
        io.out(_dump(data, offset))
    io.report("read", offset, count, count, began, "C" in request)


def _check_write(request: _Transfer) -> None:
    if "b" in request and "z" in request:
        raise UsageError("-b and -z cannot be specified at the same time\n")
    if "c" in request and ("z" in request or "b" in request):
        raise UsageError("-c and -z or -b cannot be specified at the same time\n")
    if "f" in request and ("b" in request or "c" in request):
        raise UsageError("-f and -b or -c cannot be specified at the same time\n")
    if "n" in request and "z" not in request:
        raise UsageError("-n requires -z to be specified\n")
    if "u" in request and "z" not in request:
        raise UsageError("-u requires -z to be specified\n")
    if sum(letter in request for letter in "zPs") > 1:
        raise UsageError("Only one of -z, -P, and -s can be specified at the same time\n")


async def _write(io: QemuIo, words: list[str]) -> None:
    request = _transfer(words, "bcCfnpP:qrs:uz", exactly=2)
    _check_write(request)
    offset = parse_size(request.operands[0])
    count = parse_size(request.operands[1])
    if count > _REQUEST_MAX and "n" not in request:
        raise UsageError(
            f"length cannot exceed {_REQUEST_MAX} without -n, given {request.operands[1]}\n"
        )
    if "b" in request or "c" in request:
        _sector_aligned("offset", offset)
        _sector_aligned("count", count)
    began = io.machine.clock.now()
    try:
        await _write_request(io, request, offset, count)
    except BlockIOError as error:
        raise UsageError(f"write failed: {error.desc}\n") from None
    if "q" not in request:
        io.report("wrote", offset, count, count, began, "C" in request)


async def _write_request(io: QemuIo, request: _Transfer, offset: int, count: int) -> None:
    if "b" in request:
        raise BlockIOError(errno.ENOTSUP)
    if "z" in request:
        await io.backend.pwrite_zeroes(
            offset, count, may_unmap="u" in request, fua="f" in request, no_fallback="n" in request
        )
    elif "c" in request:
        await io.backend.pwrite_compressed(offset, _buffer(request, count))
    else:
        await io.backend.pwrite(offset, _buffer(request, count), fua="f" in request)


def _buffer(request: _Transfer, count: int) -> bytes:
    if "s" not in request:
        return bytes([parse_pattern(request.options.get("P", "0xcd"))]) * count
    name = request.options["s"]
    try:
        with open(name, "rb") as source:
            data = source.read(count)
    except OSError as error:
        raise UsageError(f"{name}: {os.strerror(error.errno or 0)}\n") from None
    if not data:
        raise UsageError(f"{name}: file is empty\n")
    return (data * (count // len(data) + 1))[:count]


async def _writev(io: QemuIo, words: list[str]) -> None:
    request = _transfer(words, "CfqrP:", exactly=None)
    offset = parse_size(request.operands[0])
    count = sum(_lengths(request.operands[1:]))
    began = io.machine.clock.now()
    try:
        await io.backend.pwrite(offset, _buffer(request, count), fua="f" in request)
    except BlockIOError as error:
        raise UsageError(f"writev failed: {error.desc}\n") from None
    if "q" not in request:
        io.report("wrote", offset, count, count, began, "C" in request)


async def _aio_write(io: QemuIo, words: list[str]) -> None:
    request = _transfer(words, "CfiP:qruz", exactly=None)
    if "z" in request and len(request.operands) != 2:
        raise UsageError("-z supports only a single length parameter\n")
    if "u" in request and "z" not in request:
        raise UsageError("-u requires -z to be specified\n")
    if "z" in request and "P" in request:
        raise UsageError("-z and -P cannot be specified at the same time\n")
    offset = parse_size(request.operands[0])
    if "i" in request:
        io.backend.account_invalid("wr")
        return
    count = sum(_lengths(request.operands[1:]))
    began = io.machine.clock.now()
    try:
        await _write_request(io, request, offset, count)
    except BlockIOError as error:
        io.backend.account_failed("wr", io.machine.clock.now() - began)
        raise UsageError(f"aio_write failed: {error.desc}\n") from None
    io.backend.account_done("wr", count, io.machine.clock.now() - began)
    if "q" not in request:
        io.report("wrote", offset, count, count, began, "C" in request)


async def _aio_flush(io: QemuIo, words: list[str]) -> None:
    """Every request has ended when its command returns: nothing is left to wait for."""


async def _flush(io: QemuIo, words: list[str]) -> None:
    if io.backend.node is not None:
        await io.backend.flush()


async def _discard(io: QemuIo, words: list[str]) -> None:
    options, operands = getopt(words, "Cq")
    if len(operands) != 2:
        raise _Usage
    offset = parse_size(operands[0])
    count = _length(operands[1])
    began = io.machine.clock.now()
    try:
        await io.backend.pdiscard(offset, count)
    except BlockIOError as error:
        raise UsageError(f"discard failed: {error.desc}\n") from None
    if "q" not in options:
        io.report("discard", offset, count, count, began, "C" in options)


async def _truncate(io: QemuIo, words: list[str]) -> None:
    options, operands = getopt(words, "m:")
    if not operands:
        raise _Usage
    mode = options.get("m", "off")
    if mode not in ("off", "metadata", "falloc", "full"):
        raise UsageError(f"Parameter 'm' does not accept value '{mode}'\n")
    size = parse_size(operands[0])
    await io.backend.truncate(size, exact=False, prealloc=mode)


async def _length_of(io: QemuIo, words: list[str]) -> None:
    try:
        io.out(f"{quantity(io.backend.length())}\n")
    except BlockIOError as error:
        raise UsageError(f"getlength: {error.desc}\n") from None


async def _info(io: QemuIo, words: list[str]) -> None:
    from qmpd.hmp.image_info import dump_specific

    node = io.backend.node
    if node is None:
        return
    driver = node.driver
    io.out(f"format name: {driver.format_name}\n")
    if driver.is_protocol:
        io.out(f"format name: {driver.format_name}\n")
    if not driver.has_info:
        return
    io.out(f"cluster size: {quantity(driver.cluster_size() or 0)}\n")
    io.out(f"vm state offset: {quantity(driver.vm_state_offset())}\n")
    specific = (await driver.info_members()).get("format-specific")
    if specific and specific["data"]:
        io.out("Format specific information:\n" + dump_specific(specific["data"], 1))


async def _alloc(io: QemuIo, words: list[str]) -> None:
    start = offset = parse_size(words[0])
    count = _length(words[1]) if len(words) > 1 else 512
    node = io.backend.node
    remaining, allocated = count, 0
    while remaining and node is not None:
        found, length = await node.is_allocated(offset, remaining)
        if not length:
            count -= remaining
            break
        offset += length
        remaining -= length
        allocated += length if found else 0
    io.out(f"{allocated}/{count} bytes allocated at offset {quantity(start)}\n")


async def _map(io: QemuIo, words: list[str]) -> None:
    node = io.backend.node
    if node is None:
        raise UsageError(f"Failed to query image length: {os.strerror(errno.ENOMEDIUM)}\n")
    offset, end = 0, node.length
    while offset < end:
        first, length = await node.is_allocated(offset, end - offset)
        while offset + length < end:
            again, more = await node.is_allocated(offset + length, end - offset - length)
            if again != first or not more:
                break
            length += more
        shown = "    allocated" if first else "not allocated"
        io.out(
            f"{quantity(length)} (0x{length:x}) bytes {shown}"
            f" at offset {quantity(offset)} (0x{offset:x})\n"
        )
        offset += length


async def _reopen(io: QemuIo, words: list[str]) -> None:
    options, operands = getopt(words, "c:o:rw")
    if "r" in options and "w" in options:
        raise QmpError("Only one -r/-w option may be given")
    if "c" in options and options["c"] not in _CACHE_MODES:
        raise QmpError(f"Invalid cache option: {options['c']}")
    if operands:
        raise _Usage
    if "c" in options or "o" in options:
        raise QmpError("qmpd does not change a node's options by qemu-io reopen")
    if io.backend.node is not None and ("r" in options or "w" in options):
        await io.backend.node.set_read_only("r" in options)


async def _help(io: QemuIo, words: list[str]) -> None:
    if not words:
        for name in sorted({command.name for command in IO_COMMANDS.values()}):
            io.out(_help_line(IO_COMMANDS[name], name))
        io.out("\nUse 'help commandname' for extended help.\n")
    elif words[0] in IO_COMMANDS:
        io.out(_help_line(IO_COMMANDS[words[0]], words[0]))
    else:
        io.out(f"command {words[0]} not found\n")


def _help_line(command: IoCommand, name: str) -> str:
    usage = "" if command.usage is None else f"{command.usage} "
    return f"{name} {usage}-- {command.summary}\n"


async def _sleep(io: QemuIo, words: list[str]) -> None:
    if not words[0].isdigit():
        raise UsageError(f"{words[0]} is not a valid number\n")
    await io.machine.clock.sleep(int(words[0]) * 1_000_000)


async def _abort(io: QemuIo, words: list[str]) -> None:
    os.abort()


async def _sigraise(io: QemuIo, words: list[str]) -> None:
    number = parse_size(words[0])
    if number not in set(signal.Signals):
        return
    os.kill(os.getpid(), number)


def _unsupported(format_text: str) -> Callable[[QemuIo, list[str]], Awaitable[None]]:
    async def handler(io: QemuIo, words: list[str]) -> None:
        # only blkdebug nodes have breakpoints, only zoned devices have zones
        text = format_text.format(words[0])
        raise UsageError(f"{text}: {os.strerror(errno.ENOTSUP)}\n")

    return handler


_TABLE: Final = (
    IoCommand("abort", _abort, summary="simulate a program crash using abort(3)"),
    IoCommand("aio_flush", _aio_flush, summary="completes all outstanding aio requests"),
    IoCommand(
        "aio_read",
        _aio_read,
        2,
        None,
        "[-Ciqrv] [-P pattern] off len [len..]",
        "asynchronously reads a number of bytes",
    ),
    IoCommand(
        "aio_write",
        _aio_write,
        2,
        None,
        "[-Cfiqruz] [-P pattern] off len [len..]",
        "asynchronously writes a number of bytes",
        writes=True,
    ),
    IoCommand(
        "alloc", _alloc, 1, 2, "offset [count]", "checks if offset is allocated in the file", "a"
    ),
    IoCommand(
        "break",
        _unsupported("Could not set breakpoint"),
        2,
        2,
        "event tag",
        "sets a breakpoint on event and tags the stopped request as tag",
    ),
    IoCommand(
        "discard",
        _discard,
        2,
        None,
        "[-Cq] off len",
        "discards a number of bytes at a specified offset",
        "d",
        writes=True,
    ),
    IoCommand("flush", _flush, 0, 0, None, "flush all in-core file state to disk", "f"),
    IoCommand("help", _help, 0, 1, "[command]", "help for one or all commands", "?"),
    IoCommand("info", _info, 0, 0, None, "prints information about the current file", "i"),
    IoCommand("length", _length_of, 0, 0, None, "gets the length of the current file", "l"),
    IoCommand("map", _map, 0, 0, "", "prints the allocated areas of a file"),
    IoCommand(
        "read",
        _read,
        2,
        None,
        "[-abCqrv] [-P pattern [-s off] [-l len]] off len",
        "reads a number of bytes at a specified offset",
        "r",
    ),
    IoCommand(
        "readv",
        _readv,
        2,
        None,
        "[-Cqrv] [-P pattern] off len [len..]",
        "reads a number of bytes at a specified offset",
    ),
    IoCommand(
        "remove_break",
        _unsupported("Could not remove breakpoint {}"),
        1,
        1,
        "tag",
        "remove a breakpoint by tag",
    ),
    IoCommand(
        "reopen",
        _reopen,
        0,
        None,
        "[(-r|-w)] [-c cache] [-o options]",
        "reopens an image with new options",
    ),
    IoCommand(
        "resume",
        _unsupported("Could not resume request"),
        1,
        1,
        "tag",
        "resumes the request tagged as tag",
    ),
    IoCommand("sigraise", _sigraise, 1, 1, "signal", "raises a signal"),
    IoCommand("sleep", _sleep, 1, 1, None, "waits for the given value in milliseconds"),
    IoCommand(
        "truncate",
        _truncate,
        1,
        3,
        "[-m prealloc_mode] off",
        "truncates the current file at the given offset",
        "t",
        writes=True,
        resizes=True,
    ),
    IoCommand(
        "wait_break",
        _unsupported("Could not wait for request"),
        1,
        1,
        "tag",
        "waits for the suspension of a request",
    ),
    IoCommand(
        "write",
        _write,
        2,
        None,
        "[-bcCfnqruz] [-P pattern | -s source_file] off len",
        "writes a number of bytes at a specified offset",
        "w",
        writes=True,
    ),
    IoCommand(
        "writev",
        _writev,
        2,
        None,
        "[-Cfqr] [-P pattern] off len [len..]",
        "writes a number of bytes at a specified offset",
        writes=True,
    ),
    IoCommand(
        "zone_append",
        _unsupported("zone append failed"),
        2,
        2,
        "offset len [len..]",
        "append write a number of bytes at a specified offset",
        writes=True,
    ),
    *(
        IoCommand(
            f"zone_{verb}",
            _unsupported(f"zone {verb} failed"),
            2,
            2,
            "offset len" if verb != "report" else "offset number",
            summary,
            writes=verb != "report",
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
