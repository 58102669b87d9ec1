"""qemu-io's commands that write."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from qmpd.base.sizes import REQUEST_MAX_BYTES
from qmpd.errors import BlockIOError
from qmpd.monitor.hmp.line import UsageError
from qmpd.monitor.hmp.qemu_io.base import (
    Transfer,
    check_sector_aligned,
)
from qmpd.monitor.hmp.qemu_io.buffer import Buffer, read_buffer

if TYPE_CHECKING:
    from qmpd.monitor.hmp.qemu_io.base import QemuIo


def _check_write(request: Transfer) -> None:
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


async def write(io: QemuIo, request: Transfer) -> None:
    """write: write a pattern, a file, or zeroes."""
    request.check(exactly=2)
    _check_write(request)
    offset = io.number(request.operands[0])
    count = io.number(request.operands[1])
    if count > REQUEST_MAX_BYTES and "n" not in request:
        raise UsageError(
            f"length cannot exceed {REQUEST_MAX_BYTES} without -n, given {request.operands[1]}\n"
        )
    if "b" in request or "c" in request:
        check_sector_aligned("offset", offset)
        check_sector_aligned("count", count)
    buffer = await read_buffer(io, request, count)
    began = io.machine.clock.now()
    try:
        await _write_request(io, request, offset, count, buffer)
    except BlockIOError as error:
        raise UsageError(f"write failed: {error.desc}\n") from None
    if "q" not in request:
        io.report("wrote", offset, count, count, began, "C" in request)


async def _write_request(
    io: QemuIo, request: Transfer, offset: int, count: int, buffer: Buffer
) -> None:
    try:
        await _write_data(io, request, offset, count, buffer.data)
    finally:
        await buffer.free()


async def _write_data(
    io: QemuIo, request: Transfer, offset: int, count: int, data: bytes | memoryview
) -> None:
    if "b" in request:
        raise BlockIOError(errno.ENOTSUP)
    if "z" in request:
        await io.backend.pwrite_zeroes(
            offset, count, may_unmap="u" in request, fua="f" in request, no_fallback="n" in request
        )
    elif "c" in request:
        await io.backend.pwrite_compressed(offset, data)
    else:
        await io.backend.pwrite(offset, data, fua="f" in request)


async def writev(io: QemuIo, request: Transfer) -> None:
    """writev: write from a vector of buffers."""
    request.check()
    offset = io.number(request.operands[0])
    count = sum(io.lengths(request))
    buffer = await read_buffer(io, request, count)
    began = io.machine.clock.now()
    try:
        await _write_request(io, request, offset, count, buffer)
    except BlockIOError as error:
        raise UsageError(f"writev failed: {error.desc}\n") from None
    if "q" not in request:
        io.report("wrote", offset, count, count, began, "C" in request)


async def aio_write(io: QemuIo, request: Transfer) -> None:
    """aio_write: begin to write, with accounting as a device does; what comes of it is printed.

    Zeroes (-z) are not counted.
    """
    request.check()
    backend, zeroes = io.backend, "z" in request
    if "i" in request:
        io.out("injecting invalid write request\n")
        backend.account_invalid("wr")
        return
    if zeroes and len(request.operands) != 2:
        raise UsageError("-z supports only a single length parameter\n")
    if "u" in request and not zeroes:
        raise UsageError("-u requires -z to be specified\n")
    if zeroes and "r" in request:
        raise UsageError("cannot combine zero write with registered I/O buffer\n")
    offset = io.number(request.operands[0])
    if zeroes:
        count = io.number(request.operands[1])
    else:
        count = io.accounted_lengths("wr", request)
    buffer = await read_buffer(io, request, count)
    began = io.machine.clock.now()

    def done(_: None, error: BlockIOError | None) -> None:
        duration = io.machine.clock.now() - began
        if error is not None:
            io.out(f"aio_write failed: {error.desc}\n")
            if not zeroes:
                backend.account_failed("wr", duration)
            return
        if not zeroes:
            backend.account_done("wr", count, duration)
        if "q" not in request:
            io.report("wrote", offset, count, count, began, "C" in request)

    backend.aio.start(_write_request(io, request, offset, count, buffer), done)
