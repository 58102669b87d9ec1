"""qemu-io's commands that read."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from qmpd.errors import BlockIOError
from qmpd.monitor.hmp.line import UsageError
from qmpd.monitor.hmp.qemu_io.base import (
    Transfer,
    Usage,
    check_sector_aligned,
)
from qmpd.monitor.hmp.quantities import parse_pattern

if TYPE_CHECKING:
    from qmpd.monitor.hmp.qemu_io.base import QemuIo


async def read(io: QemuIo, request: Transfer) -> None:
    """read: read an area; verify or show the bytes if asked to."""
    request.check(exactly=2)
    if "b" in request and "p" in request:
        raise UsageError("-b and -p cannot be specified at the same time\n")
    start = io.number(request.options["s"]) if "s" in request else 0
    length = io.number(request.options["l"]) if "l" in request else None
    offset = io.number(request.operands[0])
    count = io.length(request.operands[1])
    if "P" not in request and ("l" in request or "s" in request):
        raise Usage
    if length is None:
        length = count - start
    if length < 0 or start + length > count:
        raise UsageError("pattern verification range exceeds end of read data\n")
    if "b" in request:
        check_sector_aligned("offset", offset)
        check_sector_aligned("count", count)
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
    io: QemuIo, request: Transfer, data: bytes, offset: int, start: int, length: int
) -> None:
    if "P" not in request:
        return
    pattern = bytes([parse_pattern(request.options["P"])])
    if data.count(pattern, start, start + length) != length:
        io.out(f"Pattern verification failed at offset {offset + start}, {length} bytes\n")


async def _pread(io: QemuIo, offset: int, count: int, what: str) -> bytes:
    try:
        return await io.backend.pread(offset, count)
    except BlockIOError as error:
        raise UsageError(f"{what} failed: {error.desc}\n") from None


async def readv(io: QemuIo, request: Transfer) -> None:
    """readv: read into a vector of buffers."""
    request.check()
    offset = io.number(request.operands[0])
    count = sum(io.lengths(request))
    began = io.machine.clock.now()
    data = await _pread(io, offset, count, "readv")
    _show_read(io, request, data, offset, began)


async def aio_read(io: QemuIo, request: Transfer) -> None:
    """aio_read: begin to read, with accounting as a device does; what comes of it is printed."""
    request.check()
    backend = io.backend
    if "i" in request:
        io.out("injecting invalid read request\n")
        backend.account_invalid("rd")
        return
    offset = io.number(request.operands[0])
    count = io.accounted_lengths("rd", request)
    began = io.machine.clock.now()

    def done(data: bytes | None, error: BlockIOError | None) -> None:
        duration = io.machine.clock.now() - began
        if data is None:
            assert error is not None
            io.out(f"readv failed: {error.desc}\n")
            backend.account_failed("rd", duration)
            return
        backend.account_done("rd", count, duration)
        _show_read(io, request, data, offset, began)

    backend.aio.start(backend.pread(offset, count), done)


def _show_read(io: QemuIo, request: Transfer, data: bytes, offset: int, began: int) -> None:
    _verify(io, request, data, offset, 0, len(data))
    if "q" in request:
        return
    if "v" in request:
        io.out(_dump(data, offset))
    io.report("read", offset, len(data), len(data), began, "C" in request)


def _dump(data: bytes, offset: int) -> str:
    lines = []
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        digits = "".join(f"{byte:02x} " for byte in row)
        shown = "".join(chr(b) if chr(b).isascii() and chr(b).isalnum() else "." for b in row)
        lines.append(f"{offset + start:08x}:  {digits} {shown}\n")
    return "".join(lines)
