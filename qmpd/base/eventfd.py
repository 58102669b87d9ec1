"""Event descriptors that others share: nothing done to them waits, whatever their flags say.

Another process may take O_NONBLOCK off, fill the counter or empty it at any moment, so that neither
poll(2) nor a look at the flags is any safeguard.
"""

from __future__ import annotations

import errno
import os
import platform
import select
from contextlib import suppress
from functools import cache
from typing import Any, Final

_NUMBERS: Final = {
    "x86_64": (206, 209, 208),
    "aarch64": (0, 2, 4),
    "riscv64": (0, 2, 4),
}
"""Of io_setup, io_submit and io_getevents."""
_DEPTH: Final = 8
_PREAD: Final = 0
_RESFD: Final = 1


class _Signaller:
    """Signals event descriptors as the kernel itself does, which never waits.

    The kernel does so when an asynchronous request has ended (``IOCB_FLAG_RESFD``): one for no
    bytes of a file of our own.

    :raises OSError: it cannot be had here
    """

    def __init__(self) -> None:
        # not imported before it is needed: a program starts sooner without
        import ctypes

        if platform.machine() not in _NUMBERS:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        setup, self._submit, self._get = _NUMBERS[platform.machine()]
        self._errno = ctypes.get_errno
        self._syscall: Any = ctypes.CDLL(None, use_errno=True).syscall
        self._context = ctypes.c_ulong(0)
        if self._syscall(setup, _DEPTH, ctypes.byref(self._context)) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._file = os.memfd_create("qmpd-eventfd", os.MFD_CLOEXEC)
        self._buffer = ctypes.create_string_buffer(8)
        # struct iocb of linux/aio_abi.h, in words of 32 bits: data, key, flags; opcode, file;
        # buffer, length, offset, reserved; flags, resfd
        self._request = (ctypes.c_uint32 * 16)()
        self._request[4] = _PREAD
        self._request[5] = self._file
        address = ctypes.addressof(self._buffer)
        self._request[6], self._request[7] = address & 0xFFFFFFFF, address >> 32
        self._request[14] = _RESFD
        self._requests = (ctypes.c_void_p * 1)(ctypes.addressof(self._request))
        self._events = (ctypes.c_uint64 * (4 * _DEPTH))()
        self._no_time = (ctypes.c_long * 2)()

    def signal(self, fd: int) -> None:
        """Add one to the counter of `fd`.

        :raises OSError: it has none
        """
        self._request[15] = fd
        submitted = self._syscall(self._submit, self._context, 1, self._requests)
        number = self._errno()
        self._syscall(self._get, self._context, 0, _DEPTH, self._events, self._no_time)
        if submitted != 1:
            raise OSError(number, os.strerror(number))


@cache
def _signaller() -> _Signaller | None:
    """The one of this process; None where the system has none."""
    try:
        return _Signaller()
    except OSError:
        return None


def signal(fd: int) -> None:
    """Add one to the counter of `fd`, unless it is full.

    Where the system has no asynchronous requests, a client can still make it wait, by great skill.

    :raises OSError: it is no event descriptor
    """
    signaller = _signaller()
    if signaller is not None:
        signaller.signal(fd)
        return
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    if poll.poll(0):
        with suppress(BlockingIOError):
            os.eventfd_write(fd, 1)


def take(fd: int) -> bool:
    """Empty the counter of `fd`; returns whether there was anything in it.

    :raises OSError: it is no event descriptor
    """
    try:
        return os.preadv(fd, [bytearray(8)], -1, os.RWF_NOWAIT) == 8
    except BlockingIOError:
        return False


def write_now(fd: int, data: bytes) -> None:
    """Write to a descriptor that others share, without waiting.

    :raises BlockingIOError: it takes nothing now
    :raises OSError: it cannot be written to like that
    """
    os.pwritev(fd, [data], -1, os.RWF_NOWAIT)
