"""Faults of I/O: what they wait for and what they do to it."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import BlockIOError
from qmpd.loop.clock import NANOSECONDS
from qmpd.sim.faults.fault import Fault, Keeper
from qmpd.sim.faults.words import errno_of, not_below, one_of

if TYPE_CHECKING:
    from qmpd.block.model.node import Node

OPERATIONS: Final[Mapping[str, frozenset[str]]] = {
    "pread": frozenset({"pread"}),
    "pwrite": frozenset({"pwrite", "pwrite_zeroes", "pwrite_compressed"}),
    "pwrite_zeroes": frozenset({"pwrite_zeroes"}),
    "pwrite_compressed": frozenset({"pwrite_compressed"}),
    "pdiscard": frozenset({"pdiscard"}),
    "flush": frozenset({"flush"}),
    "truncate": frozenset({"truncate"}),
    "block_status": frozenset({"block_status"}),
    "open": frozenset({"open"}),
    "create": frozenset({"create"}),
    "lock": frozenset({"lock"}),
}
"""The operations that can fail, and the requests to a driver or a storage that belong to each.

Whoever says ``pwrite`` means all that changes data, however it is written.
"""

_WITH_AREA: Final = frozenset(
    {"pread", "pwrite", "pwrite_zeroes", "pwrite_compressed", "pdiscard", "block_status"}
)
_OF_FILES: Final = frozenset({"open", "create", "lock"})
_OF_NEW_FILES: Final = frozenset({"open", "create"})
_PLAIN: Final = frozenset({"pread", "pwrite"})


@dataclass(frozen=True, slots=True)
class Area:
    """Bytes ``start .. end - 1``; without `end`, up to the end of all things."""

    start: int
    end: int | None

    def meeting(self, offset: int, length: int) -> tuple[int, int] | None:
        """Where it meets a request, as the first byte and the one behind the last."""
        start = max(self.start, offset)
        end = offset + length if self.end is None else min(self.end, offset + length)
        return (start, end) if start < end else None


class IoFault(Fault):
    """A fault of requests to nodes or files.

    :param operation: one of `OPERATIONS`
    :param node: name or pattern of the nodes
    :param file: name or pattern of the files
    :param offset: first byte of the area that a request must touch
    :param length: of that area, in bytes; None for all behind `offset`
    :param error: the errno that requests fail with, by name or number; EIO if nothing else is
        to happen
    :param delay: seconds of the machine's clock that requests wait
    :param short: bytes after which a request ends: the rest of what is read is zeroes, as behind
        the end of a file; the rest of what is written is lost, and the write fails (with EINVAL,
        as QEMU's file-posix has it, unless `error` says otherwise)
    :param corrupt: is xor-ed with the bytes of the area that are read or written, repeatedly: a
        number for all of them, or several bytes; True for 255
    :raises ValueError: an operation or errno that there is not, or what does not go together
    """

    def __init__(
        self,
        keeper: Keeper,
        operation: str,
        *,
        node: str | None = None,
        file: str | None = None,
        offset: int | None = None,
        length: int | None = None,
        skip: int = 0,
        count: int | None = None,
        error: str | int | None = None,
        delay: float | None = None,
        short: int | None = None,
        corrupt: bool | int | bytes | None = None,
    ) -> None:
        one_of("operation", operation, OPERATIONS)
        what: dict[str, Any] = {
            "operation": operation,
            "node": node,
            "file": file,
            "offset": offset,
        }
        what |= {"length": length, "errno": error, "delay": delay, "short": short}
        what["corrupt"] = corrupt.hex() if isinstance(corrupt, bytes) else corrupt
        super().__init__(keeper, what, skip=skip, count=count)
        self.operation = operation
        self.requests = OPERATIONS[operation]
        self.node = node
        self.file = file
        self._check_place(offset, length)
        changes = short is not None or corrupt is not None
        if changes and operation not in _PLAIN:
            raise ValueError(
                f"'short' and 'corrupt' are for 'pread' and 'pwrite', not {operation!r}"
            )
        if changes:
            # zeroes and compressed clusters have no bytes that could be changed
            self.requests = frozenset({operation})
        self.area = Area(offset or 0, None if length is None else (offset or 0) + length)
        self._whole = offset is None and length is None
        self.delay = 0 if delay is None else self._checked_delay(delay)
        self.short = short
        self._mask = _mask(corrupt)
        self.errno = self._errno(error, delay)

    def _check_place(self, offset: int | None, length: int | None) -> None:
        if self.node is not None and self.operation == "create":
            raise ValueError("a file that is created has no node yet: say 'file'")
        if self.node is None and self.file is None:
            raise ValueError(f"say which 'node' or which 'file': {self.operation!r} of what?")
        if offset is not None or length is not None:
            if self.operation not in _WITH_AREA:
                raise ValueError(f"{self.operation!r} has no offset and no length")
            not_below("offset", offset or 0, 0)
            if length is not None:
                not_below("length", length, 1)

    def _checked_delay(self, delay: float) -> int:
        not_below("delay", delay, 0)
        if self.operation == "lock":
            raise ValueError("a lock is had or refused at once: it cannot be delayed")
        return round(delay * NANOSECONDS)

    def _errno(self, error: str | int | None, delay: float | None) -> int:
        if error is not None:
            return errno_of(error)
        if self.short is not None:
            not_below("short", self.short, 0)
            return errno.EINVAL if self.operation == "pwrite" else 0
        if self._mask or delay is not None:
            return 0
        return errno.EAGAIN if self.operation == "lock" else errno.EIO

    @property
    def of_files(self) -> bool:
        """Whether it is about files being opened, made or locked, not about requests to a node."""
        return self.operation in _OF_FILES

    @property
    def of_new_files(self) -> bool:
        """Whether what it waits for need not be there yet."""
        return self.operation in _OF_NEW_FILES

    def concerns(self, node: Node) -> bool:
        """Whether it is about requests to `node`."""
        return not self.of_files and self.is_at(node.node_name, file_of(node))

    def is_at(self, node_name: str | None, filename: str | None) -> bool:
        """Whether it is about the node, and the file, of these names."""
        return is_called(node_name, self.node) and is_called(filename, self.file)

    def touches(self, offset: int, length: int) -> bool:
        """Whether it is about a request to this area."""
        return self._whole or self.area.meeting(offset, length) is not None

    def changed(self, offset: int, data: bytes | memoryview) -> bytes | memoryview:
        """`data`, read from or written to `offset`, as the fault has it."""
        meeting = self.area.meeting(offset, len(data))
        if not self._mask or meeting is None:
            return data
        start, end = meeting
        mask = self._mask * -(-(end - start) // len(self._mask))
        bad = bytearray(data)
        for index in range(end - start):
            bad[start - offset + index] ^= mask[index]
        return bytes(bad)

    def raise_error(self, text: str | None = None) -> None:
        """Fail, if that is what it does.

        :param text: what the error says before its errno, where it says anything
        :raises BlockIOError: with its errno
        """
        if self.errno:
            raise BlockIOError(self.errno, text and f"{text}: {os.strerror(self.errno)}")


def _mask(corrupt: bool | int | bytes | None) -> bytes:
    if corrupt is None:
        return b""
    if isinstance(corrupt, bytes):
        mask = corrupt
    else:
        number = 255 if corrupt is True else int(corrupt)
        if number > 255:
            raise ValueError(f"corrupt is {number}; it is xor-ed with bytes: at most 255")
        mask = bytes([max(0, number)])
    if not any(mask):
        raise ValueError("corrupt changes nothing: give True, a number of 1 to 255, or bytes")
    return mask


def file_of(node: Node) -> str | None:
    """The name of the file that a node stands for; None if it stands for none."""
    shape = node.driver.shape
    if not shape.is_protocol or shape.is_filter:
        return None
    return node.driver.exact_filename()


def is_called(name: str | None, wanted: str | None) -> bool:
    """Whether a name is the one that is wanted, or fits it as a pattern."""
    if wanted is None:
        return True
    return name is not None and (name == wanted or fnmatchcase(name, wanted))
