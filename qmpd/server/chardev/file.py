"""Backends ``file`` and ``pipe``, and log files: descriptors of files."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop
from contextlib import suppress
from typing import TYPE_CHECKING

from qmpd.base.override import override
from qmpd.block.images.storage import FDSET_PREFIX
from qmpd.errors import BlockIOError, GenericError
from qmpd.server.chardev.chardev import Chardev
from qmpd.server.chardev.on_stream import StreamChardev
from qmpd.server.chardev.stream import Stream

if TYPE_CHECKING:
    from qmpd.block.images import Storages


def open_file(path: str, flags: int, storage: Storages, *, verb: str = "open") -> int:
    """Open a file of the host, or a descriptor that was handed over (``/dev/fdset/N``).

    :param storage: has both
    :param flags: as open(2) has them
    :param verb: what is told that it could not be done
    :raises GenericError: with QEMU's text
    """
    try:
        if path.startswith(FDSET_PREFIX):
            fdsets = storage.fdsets
            fd, fdset = fdsets.duplicate(path, flags)
            fdsets.used(fdset)
            return fd
        return storage.host.open(path, flags, waits=True)
    except BlockIOError as error:
        if verb == "create":
            raise GenericError(error.desc) from None
        reason = os.strerror(error.errno)
    except OSError as error:
        reason = error.strerror or str(error)
    raise GenericError(f"Could not {verb} '{path}': {reason}")


class OutputFile:
    """A file that takes output.

    :param fd: its descriptor, which is closed with it
    """

    def __init__(self, fd: int) -> None:
        self._file = open(fd, "wb", buffering=0)  # noqa: SIM115

    def write(self, data: bytes) -> None:
        """Add `data`; what a full disk does not take is lost, as in QEMU."""
        with suppress(OSError):
            while data:
                data = data[self._file.write(data) or 0 :]

    def close(self) -> None:
        """Close it."""
        self._file.close()


class FileChardev(Chardev):
    """Backend ``file`` without input.

    :param fd: the file's descriptor
    """

    def __init__(self, label: str, fd: int) -> None:
        super().__init__(label)
        self._output = OutputFile(fd)
        self.is_open = True

    @property
    def filename(self) -> str:
        """As QEMU names it."""
        return "file"

    @override
    def send(self, data: bytes) -> None:
        self._output.write(data)

    @override
    def close(self) -> None:
        self._output.close()


class DescriptorChardev(StreamChardev):
    """Backends ``pipe``, and ``file`` with input.

    :param kind: which of them
    :param read_fd: where bytes come from
    :param write_fd: where they go; may be the same
    """

    def __init__(
        self, label: str, kind: str, loop: AbstractEventLoop, read_fd: int, write_fd: int
    ) -> None:
        super().__init__(label)
        self._kind = kind
        self._fds = {read_fd, write_fd}
        self._stream: Stream | None = Stream(loop, read_fd, write_fd, self, self._close_fds)
        self.is_open = True

    def _close_fds(self) -> None:
        for fd in self._fds:
            os.close(fd)

    @property
    def filename(self) -> str:
        """As QEMU names it."""
        return self._kind

    @override
    def start(self) -> None:
        if self._stream is not None:
            self._stream.start()

    @override
    def stream_ended(self) -> None:
        """Tell the frontend; output still arrives."""
        self.is_open = False
        if self.frontend is not None:
            self.frontend.closed()

    @override
    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def open_pipe(path: str, storage: Storages) -> tuple[int, int]:
    """Descriptors to read and to write of ``PATH.in`` and ``PATH.out``, else both of ``PATH``.

    :raises GenericError: none can be opened
    """
    opened: list[int] = []
    for name in (f"{path}.in", f"{path}.out"):
        with suppress(GenericError):
            opened.append(open_file(name, os.O_RDWR, storage))
    if len(opened) == 2:
        return opened[0], opened[1]
    for fd in opened:
        os.close(fd)
    fd = open_file(path, os.O_RDWR, storage)
    return fd, fd
