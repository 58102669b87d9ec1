"""qemu-io's commands that read."""

from __future__ import annotations

import errno
import os
from collections import deque
from typing import TYPE_CHECKING, Final

from qmpd.block.io.slices import read_in_slices
from qmpd.errors import BlockIOError
from qmpd.loop.completions import VERY_LONG
from qmpd.monitor.hmp.line import UsageError
from qmpd.monitor.hmp.qemu_io.base import (
    Transfer,
    Usage,
    check_sector_aligned,
)
from qmpd.monitor.hmp.quantities import parse_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qmpd.monitor.hmp.qemu_io.base import QemuIo

_ROW: Final = 16
"""Bytes in a line of a dump."""

_DUMPED: Final = 1024 * _ROW
"""Bytes that are dumped in one step."""

_SHOWN: Final = bytes(
    byte if chr(byte).isascii() and chr(byte).isalnum() else ord(".") for byte in range(256)
)
"""What a dump shows for each byte."""


class _Reading:
    """A read, which is verified slice by slice, and kept only if it is to be shown.

    :param start: first byte that is verified, from the beginning of the area
    :param length: how many are
    """

    def __init__(
        self, io: QemuIo, request: Transfer, offset: int, count: int, start: int, length: int
    ) -> None:
        self._io = io
        self._request = request
        self._offset = offset
        self._count = count
        self._start = start
        self._length = length
        self._pattern = bytes([parse_pattern(request.options["P"])]) if "P" in request else None
        self._is_shown = "v" in request and "q" not in request
        self._slices: list[bytes] = []
        self._read = 0
        self._matches = True

    @property
    def is_long(self) -> bool:
        """Whether others should have their turn while it is told what has been read."""
        return self._count > VERY_LONG

    async def run(self) -> None:
        """Read, and tell what has been read.

        :raises BlockIOError: it cannot be read; nothing has been said then
        """
        await self.read()
        await self.tell()

    async def read(self) -> None:
        """Read.

        :raises BlockIOError: it cannot be read
        """
        await read_in_slices(self._io.backend, self._offset, self._count, self._take)

    async def tell(self) -> None:
        """Say whether it is what it should be, and show it."""
        for text in self.texts():
            self._io.out(text)
            await self._io.machine.clock.completions.rest()

    def _take(self, data: bytes) -> None:
        begin, self._read = self._read, self._read + len(data)
        if self._is_shown:
            self._slices.append(data)
        if self._pattern is not None and self._matches:
            first = max(0, self._start - begin)
            last = max(first, min(len(data), self._start + self._length - begin))
            self._matches = data.count(self._pattern, first, last) == last - first

    def texts(self) -> Iterator[str]:
        """What `tell` prints, in pieces."""
        if not self._matches:
            where = f"offset {self._offset + self._start}, {self._length} bytes"
            yield f"Pattern verification failed at {where}\n"
        offset, left = self._offset, b""
        slices, self._slices = deque(self._slices), []
        while slices:
            data = left + slices.popleft()
            whole = len(data) // _ROW * _ROW if slices else len(data)
            for start in range(0, whole, _DUMPED):
                yield _dump(data[start : min(whole, start + _DUMPED)], offset + start)
            left = data[whole:]
            offset += whole


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
    try:
        await _Reading(io, request, offset, count, start, length).run()
    except BlockIOError as error:
        raise UsageError(f"read failed: {error.desc}\n") from None
    if "q" not in request:
        io.report("read", offset, count, count, began, "C" in request)


async def readv(io: QemuIo, request: Transfer) -> None:
    """readv: read into a vector of buffers."""
    request.check()
    offset = io.number(request.operands[0])
    count = sum(io.lengths(request))
    began = io.machine.clock.now()
    try:
        await _Reading(io, request, offset, count, 0, count).run()
    except BlockIOError as error:
        raise UsageError(f"readv failed: {error.desc}\n") from None
    if "q" not in request:
        io.report("read", offset, count, count, began, "C" in request)


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

    def done(_: None, error: BlockIOError | None) -> None:
        duration = io.machine.clock.now() - began
        if error is not None:
            io.out(f"readv failed: {error.desc}\n")
            backend.account_failed("rd", duration)
            return
        backend.account_done("rd", count, duration)
        if not reading.is_long:
            for text in reading.texts():
                io.out(text)
        if "q" not in request:
            io.report("read", offset, count, count, began, "C" in request)

    reading = _Reading(io, request, offset, count, 0, count)
    backend.aio.start(reading.run() if reading.is_long else reading.read(), done)


def _dump(data: bytes, offset: int) -> str:
    lines = []
    shown = data.translate(_SHOWN).decode()
    for start in range(0, len(data), _ROW):
        digits = data[start : start + _ROW].hex(" ")
        lines.append(f"{offset + start:08x}:  {digits}  {shown[start : start + _ROW]}\n")
    return "".join(lines)
