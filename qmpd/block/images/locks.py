"""Image locking: locks by which programs that share image files detect conflicts.

QEMU locks single bytes of the file, for the open file description (OFD locks):
byte 100 + n is held, shared, by everyone who uses permission n, byte 200 + n by
everyone who does not let others use it.  Conflicts are found by
testing for an exclusive lock on the opposite byte.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from abc import ABC, abstractmethod
from functools import cache
from typing import Final, Protocol

from qmpd.block.permission_bits import NAMES, Perm
from qmpd.errors import BlockIOError

PERMISSION_BASE: Final = 100
UNSHARED_BASE: Final = 200

AVAILABLE: Final = hasattr(fcntl, "F_OFD_SETLK")
"""Whether this system has locks of open file descriptions."""

_FLOCK: Final = "hhqqi4x"


@cache
def _flock(kind: int, byte: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, byte, 1, 0)


class Locks(ABC):
    """The bytes of a file that one open handle has locked."""

    def __init__(self) -> None:
        self.locked: set[int] = set()

    def lock(self, perm: Perm, unshared: Perm) -> None:
        """Lock the bytes of these permissions, in addition to what is locked.

        :raises BlockIOError: the system refuses the lock
        """
        for byte in _bytes(perm, unshared):
            if byte not in self.locked:
                self._take(byte)
                self.locked.add(byte)

    def unlock_others(self, perm: Perm, unshared: Perm) -> None:
        """Unlock all bytes but those of these permissions."""
        for byte in self.locked.difference(_bytes(perm, unshared)):
            self._give(byte)
            self.locked.discard(byte)

    def check(self, perm: Perm, unshared: Perm) -> None:
        """Check that these permissions do not conflict with other handles.

        :raises BlockIOError: EAGAIN, with QEMU's text
        """
        for bit, name in NAMES:
            index = bit.bit_length() - 1
            if perm & bit and self._is_locked(UNSHARED_BASE + index):
                raise BlockIOError(errno.EAGAIN, f'Failed to get "{name}" lock')
        for bit, name in NAMES:
            index = bit.bit_length() - 1
            if unshared & bit and self._is_locked(PERMISSION_BASE + index):
                raise BlockIOError(errno.EAGAIN, f'Failed to get shared "{name}" lock')

    @abstractmethod
    def _take(self, byte: int) -> None:
        """Lock one byte, shared."""

    @abstractmethod
    def _give(self, byte: int) -> None:
        """Unlock one byte."""

    @abstractmethod
    def _is_locked(self, byte: int) -> bool:
        """Whether any other handle has locked a byte."""


class HasDescriptor(Protocol):
    """An open file."""

    fd: int


class FileLocks(Locks):
    """The bytes locked through one file descriptor.

    :param file: has the descriptor
    """

    def __init__(self, file: HasDescriptor) -> None:
        super().__init__()
        self._file = file

    def _take(self, byte: int) -> None:
        self._set(fcntl.F_RDLCK, byte)

    def _give(self, byte: int) -> None:
        self._set(fcntl.F_UNLCK, byte)

    def _set(self, kind: int, byte: int) -> None:
        try:
            fcntl.fcntl(self._file.fd, fcntl.F_OFD_SETLK, _flock(kind, byte))
        except OSError as error:
            raise BlockIOError(error.errno or errno.EIO, f"Failed to lock byte {byte}") from None

    def _is_locked(self, byte: int) -> bool:
        answer = fcntl.fcntl(self._file.fd, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, byte))
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


@cache
def _bytes(perm: Perm, unshared: Perm) -> tuple[int, ...]:
    used = [PERMISSION_BASE + bit.bit_length() - 1 for bit, _ in NAMES if perm & bit]
    used += [UNSHARED_BASE + bit.bit_length() - 1 for bit, _ in NAMES if unshared & bit]
    return tuple(used)
