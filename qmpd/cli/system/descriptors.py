"""``-add-fd``: descriptors that the program was started with, for ``/dev/fdset/N``."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from qmpd.base.descriptor import Descriptor
from qmpd.base.sizes import as_int
from qmpd.cli.report import CommandLineError

if TYPE_CHECKING:
    from qmpd.block.images.fdsets import FdSets
    from qmpd.options.qemu_opts import Opts

_LAST_STANDARD_STREAM = 2


def add_descriptor(fdsets: FdSets, opts: Opts) -> None:
    """Add a duplicate of a descriptor to a set (``parse_add_fd``).

    :param opts: ``fd``, ``set`` and ``opaque``
    :raises CommandLineError: with QEMU's text
    """
    fd, number = as_int(opts.number("fd", -1) or 0), opts.number("set", -1)
    if fd < 0:
        raise CommandLineError("fd option is required and must be non-negative")
    if fd <= _LAST_STANDARD_STREAM:
        raise CommandLineError("fd cannot be a standard I/O stream")
    if not _inherited(fd):
        raise CommandLineError("fd is not valid or already in use")
    if number is None or not 0 <= number < 1 << 63:
        raise CommandLineError("set option is required and must be non-negative")
    try:
        copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise CommandLineError(f"error duplicating fd: {reason}") from None
    fdsets.add(Descriptor(copy), number, opts.get("opaque"))


def close_original(opts: Opts) -> None:
    """Close a descriptor that has been added to sets (``cleanup_add_fd``)."""
    with suppress(OSError):
        os.close(as_int(opts.number("fd", -1) or 0))


def _inherited(fd: int) -> bool:
    """Whether a descriptor came with exec: those that the program opens itself are closed by it."""
    try:
        return not fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    except OSError:
        return False
