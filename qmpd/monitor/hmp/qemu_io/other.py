"""qemu-io's commands that neither read nor write data."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from qmpd.base.scalars import decimal_number
from qmpd.base.sizes import SECTOR
from qmpd.block.change.drain import drain_all
from qmpd.block.change.reopen_flat import reopen_flat
from qmpd.block.model.flat_options import FlatOptions
from qmpd.block.permission_bits import WRITE, WRITE_UNCHANGED
from qmpd.errors import BlockIOError, QmpError
from qmpd.machine.drives.options import CACHE_MODES
from qmpd.monitor.hmp.line import UsageError
from qmpd.monitor.hmp.qemu_io.base import Transfer, Usage
from qmpd.monitor.hmp.quantities import quantity
from qmpd.options.getopt import getopt
from qmpd.options.qemu_opts import OptionGroup, Opts, parse_opts, silent

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.monitor.hmp.qemu_io.base import QemuIo

_REOPEN: Final = OptionGroup("reopen", None, None, merge=True)


async def aio_flush(io: QemuIo, words: list[str]) -> None:
    """aio_flush: let all requests under way end; that is counted as a flush."""
    now = io.machine.clock.now
    began = now()
    await drain_all(io.machine.graph)
    io.backend.account_done("flush", 0, now() - began)


async def flush(io: QemuIo, words: list[str]) -> None:
    """flush: a failure is not reported (``flush_f``)."""
    if io.backend.node is not None:
        with suppress(BlockIOError):
            await io.backend.flush()


async def discard(io: QemuIo, request: Transfer) -> None:
    """discard: discard an area."""
    options, operands = request.options, request.operands
    if len(operands) != 2:
        raise Usage
    offset = io.number(operands[0])
    count = io.length(operands[1])
    began = io.machine.clock.now()
    try:
        await io.backend.pdiscard(offset, count)
    except BlockIOError as error:
        raise UsageError(f"discard failed: {error.desc}\n") from None
    if "q" not in options:
        io.report("discard", offset, count, count, began, "C" in options)


async def aio_discard(io: QemuIo, request: Transfer) -> None:
    """aio_discard: begin to discard an area; what comes of it is printed."""
    if len(request.operands) != 2:
        raise Usage
    backend = io.backend
    offset, count = io.number(request.operands[0]), io.number(request.operands[1])
    began = io.machine.clock.now()

    def done(_: None, error: BlockIOError | None) -> None:
        duration = io.machine.clock.now() - began
        if error is not None:
            io.out(f"aio_discard failed: {error.desc}\n")
            backend.account_failed("unmap", duration)
            return
        backend.account_done("unmap", count, duration)
        if "q" not in request:
            io.report("discarded ", offset, count, count, began, "C" in request)

    backend.aio.start(backend.pdiscard(offset, count), done)


async def truncate(io: QemuIo, words: list[str]) -> None:
    """truncate: change the length."""
    options, operands = getopt(words, "m:")
    if not operands:
        raise Usage
    mode = options.get("m", "off")
    if mode not in ("off", "metadata", "falloc", "full"):
        raise UsageError(f"Parameter 'm' does not accept value '{mode}'\n")
    size = io.number(operands[0])
    await io.backend.truncate(size, exact=False, prealloc=mode)


async def length_of(io: QemuIo, words: list[str]) -> None:
    """length: print the length."""
    try:
        io.out(f"{quantity(io.backend.length())}\n")
    except BlockIOError as error:
        raise UsageError(f"getlength: {error.desc}\n") from None


async def info(io: QemuIo, words: list[str]) -> None:
    """info: format, cluster size, and data specific to the format."""
    from qmpd.monitor.hmp.image_info import dump_specific

    node = io.backend.node
    if node is None:
        return
    driver = node.driver
    io.out(f"format name: {driver.format_name}\n")
    if driver.shape.is_protocol:
        io.out(f"format name: {driver.shape.protocol_name or driver.format_name}\n")
    if not driver.has_info():
        return
    io.out(f"cluster size: {quantity(driver.cluster_size() or 0)}\n")
    io.out(f"vm state offset: {quantity(driver.vm_state_offset())}\n")
    specific = (await driver.info_members()).get("format-specific")
    if specific and specific["data"]:
        title = "Format specific information:\n"
        if io.machine.profile.rules.holds("title-on-standard-output"):
            io.out(title)
            title = ""
        io.show(title + dump_specific(specific["data"], 1))


async def alloc(io: QemuIo, words: list[str]) -> None:
    """alloc: how much of an area is allocated."""
    start = offset = io.number(words[0])
    count = io.length(words[1]) if len(words) > 1 else SECTOR
    node = io.backend.node
    remaining, allocated = count, 0
    while remaining and node is not None:
        try:
            found, length = await node.is_allocated(offset, remaining)
        except BlockIOError as error:
            io.out(f"is_allocated failed: {error.desc}\n")
            return
        if not length:
            count -= remaining
            break
        offset += length
        remaining -= length
        allocated += length if found else 0
    io.out(f"{allocated}/{count} bytes allocated at offset {quantity(start)}\n")


async def map_(io: QemuIo, words: list[str]) -> None:
    """map: which areas are allocated."""
    node = io.backend.node
    if node is None:
        raise QmpError(f"Failed to query image length: {os.strerror(errno.ENOMEDIUM)}")
    try:
        offset, end = 0, io.backend.length()
    except BlockIOError as error:
        raise QmpError(f"Failed to query image length: {error.desc}") from None
    while offset < end:
        try:
            first, length = await node.is_allocated(offset, end - offset)
        except BlockIOError as error:
            raise QmpError(f"Failed to get allocation status: {error.desc}") from None
        if not length:
            raise QmpError("Unexpected end of image")
        with suppress(BlockIOError):
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


async def reopen(io: QemuIo, request: Transfer) -> None:
    """reopen: other options (``reopen_f``)."""
    backend, node = io.backend, io.backend.node
    given = Opts(_REOPEN)
    mode: str | None = None
    read_only: bool | None = None
    for letter, argument in request.all_options:
        if letter == "c":
            if argument not in CACHE_MODES:
                raise QmpError(f"Invalid cache option: {argument}")
            mode = argument
        elif letter == "o":
            parse_opts(_REOPEN, argument, silent, into=given)
        elif read_only is not None:
            raise QmpError("Only one -r/-w option may be given")
        else:
            read_only = letter == "r"
    if request.operands:
        raise Usage
    if node is None:
        return
    writeback = backend.enable_write_cache if mode is None else CACHE_MODES[mode][2]
    if writeback != backend.enable_write_cache and backend.device_id:
        raise QmpError("Cannot change cache.writeback: Device attached")
    if node.read_only if read_only is None else read_only:
        backend.set_permissions(backend.perm & ~(WRITE | WRITE_UNCHANGED), backend.shared)
    flat = FlatOptions(given.to_dict())
    _set_mode(flat, node, mode, read_only)
    await reopen_flat(node, flat)
    backend.enable_write_cache = writeback


def _set_mode(flat: FlatOptions, node: Node, mode: str | None, read_only: bool | None) -> None:
    """Add the options that stand for the flags of a node, as they are or as they shall be.

    :raises QmpError: they are said twice
    """
    if "read-only" not in flat:
        flat["read-only"] = node.read_only if read_only is None else read_only
    elif read_only is not None:
        raise QmpError("Cannot set both -r/-w and 'read-only'")
    if "cache.direct" not in flat and "cache.no-flush" not in flat:
        cache = (node.cache.direct, node.cache.no_flush) if mode is None else CACHE_MODES[mode]
        flat["cache.direct"], flat["cache.no-flush"] = cache[:2]
    elif mode is not None:
        raise QmpError("Cannot set both -c and the cache options")


async def sleep(io: QemuIo, words: list[str]) -> None:
    """sleep: wait for a number of milliseconds."""
    milliseconds = decimal_number(words[0]) if words[0].isascii() and words[0].isdigit() else -1
    if not 0 <= milliseconds < 1 << 63:
        raise UsageError(f"{words[0]} is not a valid number\n")
    await io.machine.clock.sleep(milliseconds * 1_000_000)


async def abort(io: QemuIo, words: list[str]) -> None:
    """abort: ask the host to abort the process."""
    io.machine.host.abort()


async def sigraise(io: QemuIo, words: list[str]) -> None:
    """sigraise: ask the host to send the process a signal."""
    number = io.number(words[0])
    if number not in set(signal.Signals):
        return
    io.machine.host.raise_signal(number)


def unsupported(format_text: str) -> Callable[[QemuIo, list[str]], Awaitable[None]]:
    """A command that no driver supports: it prints ENOTSUP after `format_text`."""

    async def handler(io: QemuIo, words: list[str]) -> None:
        # only blkdebug nodes have breakpoints, only zoned devices have zones
        text = format_text.format(words[0])
        raise UsageError(f"{text}: {os.strerror(errno.ENOTSUP)}\n")

    return handler
