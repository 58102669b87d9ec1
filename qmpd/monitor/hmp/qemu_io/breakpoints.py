"""qemu-io's commands on the breakpoints of a blkdebug node."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from qmpd.block.drivers.filters.blkdebug import BlkDebug
from qmpd.errors import BlockIOError
from qmpd.loop.task import Waiter
from qmpd.monitor.hmp.line import UsageError

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.monitor.hmp.qemu_io.base import QemuIo


def _debugger(io: QemuIo, failed: str) -> BlkDebug:
    """The blkdebug driver nearest below the backend.

    :raises UsageError: there is none
    """
    node: Node | None = io.backend.node
    while node is not None:
        if isinstance(node.driver, BlkDebug):
            return node.driver
        node = node.primary
    raise UsageError(f"{failed}: {os.strerror(errno.ENOTSUP)}\n")


async def set_break(io: QemuIo, words: list[str]) -> None:
    """break: suspend the next request at an event."""
    driver = _debugger(io, "Could not set breakpoint")
    try:
        driver.set_breakpoint(words[0], words[1])
    except BlockIOError as error:
        raise UsageError(f"Could not set breakpoint: {os.strerror(error.errno)}\n") from None


async def remove_break(io: QemuIo, words: list[str]) -> None:
    """remove_break: remove a breakpoint, and resume the requests that it suspended."""
    failed = f"Could not remove breakpoint {words[0]}"
    driver = _debugger(io, failed)
    try:
        driver.remove_breakpoint(words[0])
    except BlockIOError as error:
        raise UsageError(f"{failed}: {os.strerror(error.errno)}\n") from None


async def resume(io: QemuIo, words: list[str]) -> None:
    """resume: resume a suspended request."""
    driver = _debugger(io, "Could not resume request")
    try:
        driver.resume(words[0])
    except BlockIOError as error:
        raise UsageError(f"Could not resume request: {os.strerror(error.errno)}\n") from None


async def wait_break(io: QemuIo, words: list[str]) -> None:
    """wait_break: wait until a request is suspended."""
    driver = _debugger(io, "Could not wait for request")
    while not driver.is_suspended(words[0]):
        waiter = Waiter()
        driver.rules.watch(waiter)
        await waiter
