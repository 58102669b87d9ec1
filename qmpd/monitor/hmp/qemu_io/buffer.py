"""What qemu-io writes: a pattern, or a file again and again."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from qmpd.loop.completions import VERY_LONG
from qmpd.monitor.hmp.line import UsageError
from qmpd.monitor.hmp.quantities import parse_pattern

if TYPE_CHECKING:
    from mmap import mmap

    from qmpd.monitor.hmp.qemu_io.base import QemuIo, Transfer


class Buffer:
    """Bytes that are to be written; others may have their turn while many are made or freed."""

    def __init__(self, io: QemuIo) -> None:
        self.data: bytes | memoryview = b""
        self._rest = io.machine.clock.completions.rest
        self._memory: mmap | None = None

    async def fill(self, data: bytes, count: int) -> None:
        """Have `count` bytes of `data`, again and again."""
        if count <= VERY_LONG or len(data) == count:
            self.data = data if len(data) == count else (data * (count // len(data) + 1))[:count]
            return
        # not imported before it is needed: a program starts sooner without
        from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

        self._memory = memory = mmap(-1, count, flags=MAP_PRIVATE | MAP_ANONYMOUS)
        data *= VERY_LONG // len(data) or 1
        for start in range(0, count, len(data)):
            size = min(len(data), count - start)
            memory[start : start + size] = data if size == len(data) else data[:size]
            await self._rest()
        self.data = memoryview(memory)

    async def free(self) -> None:
        """Give the memory back, nobody has any of it in use."""
        memory, self._memory = self._memory, None
        if memory is None:
            return
        from mmap import MADV_DONTNEED

        for start in range(0, len(memory), VERY_LONG):
            memory.madvise(MADV_DONTNEED, start, min(VERY_LONG, len(memory) - start))
            await self._rest()
        data, self.data = self.data, b""
        if isinstance(data, memoryview):
            data.release()
        with suppress(BufferError):
            memory.close()


async def read_buffer(io: QemuIo, request: Transfer, count: int) -> Buffer:
    """The data that is to be written; none for zeroes.

    :raises UsageError: it cannot be read
    """
    buffer = Buffer(io)
    if "z" in request:
        return buffer
    if "s" not in request:
        await buffer.fill(bytes([parse_pattern(request.options.get("P", "0xcd"))]), count)
        return buffer
    name = request.options["s"]
    storage = io.machine.services.storage
    try:
        data = await io.machine.clock.completions.run(
            (), lambda: storage.read_start(name, count), count
        )
    except OSError as error:
        raise UsageError(f"{name}: {os.strerror(error.errno or 0)}\n") from None
    if not data:
        raise UsageError(f"{name}: file is empty\n")
    await buffer.fill(data, count)
    return buffer
