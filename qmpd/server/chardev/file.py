"""Backends ``file`` and ``pipe``, and log files: descriptors of files."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from qmpd.base.override import override
from qmpd.block.images.storage import FDSET_PREFIX
from qmpd.errors import BlockIOError, GenericError
from qmpd.server.chardev.chardev import Chardev
from qmpd.server.chardev.on_stream import StreamChardev
from qmpd.server.chardev.stream import Stream

if TYPE_CHECKING:
    from qmpd.block.images import Storages


class OpenFile(NamedTuple):
    """An open file.

    :param fd: its descriptor
    :param left: to be called once it has been closed: a set of descriptors may wait for that
    """

    fd: int
    left: Callable[[], None]


def _nobody_waits() -> None:
    """Nobody waits for the end of a file of the host."""


def open_file(path: str, flags: int, storage: Storages, *, verb: str = "open") -> OpenFile:
    """Open a file of the host, or a descriptor that was handed over (``/dev/fdset/N``).

    :param storage: has both
    :param flags: as open(2) has them
    :param verb: what is told that it could not be done
    :raises GenericError: with QEMU's text
    """
    try:
        if path.startswith(FDSET_PREFIX):
            return OpenFile(*storage.fdsets.open(path, flags))
        return OpenFile(storage.host.open(path, flags, waits=True), _nobody_waits)
    except BlockIOError as error:
        if verb == "create":
            raise GenericError(error.desc) from None
        reason = os.strerror(error.errno)
    except OSError as error:
        reason = error.strerror or str(error)
    raise GenericError(f"Could not {verb} '{path}': {reason}")


def forever(opened: OpenFile) -> OpenFile:
    """The same file, whose end nobody is told: the set that it may be of stays, as in QEMU."""
    return OpenFile(opened.fd, _nobody_waits)


class OutputFile:
    """A file that takes output.

    :param opened: its descriptor is closed with it
    """

    def __init__(self, opened: OpenFile) -> None:
        self._file = open(opened.fd, "wb", buffering=0)  # noqa: SIM115
        self._left = opened.left

    def write(self, data: bytes) -> None:
        """Add `data`; what a full disk does not take is lost, as in QEMU."""
        with suppress(OSError):
            while data:
                data = data[self._file.write(data) or 0 :]

    def close(self) -> None:
        """Close it."""
        if not self._file.closed:
            self._file.close()
            self._left()


class FileChardev(Chardev):
    """Backend ``file`` without input.

    :param opened: the file
    """

    def __init__(self, label: str, opened: OpenFile) -> None:
        super().__init__(label)
        self._output = OutputFile(opened)
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
    :param source: where bytes come from
    :param sink: where they go; may be the same
    """

    def __init__(
        self, label: str, kind: str, loop: AbstractEventLoop, source: OpenFile, sink: OpenFile
    ) -> None:
        super().__init__(label)
        self._kind = kind
        self._files = {source, sink}
        self._stream: Stream | None = Stream(loop, source.fd, sink.fd, self, self._close_files)
        self.is_open = True

    def _close_files(self) -> None:
        for file in self._files:
            os.close(file.fd)
            file.left()

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
        self._closed()

    @override
    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def open_pipe(path: str, storage: Storages) -> tuple[OpenFile, OpenFile]:
    """Files to read and to write: ``PATH.in`` and ``PATH.out``, else both are ``PATH``.

    :raises GenericError: none can be opened
    """
    opened: list[OpenFile] = []
    for name in (f"{path}.in", f"{path}.out"):
        with suppress(GenericError):
            opened.append(open_file(name, os.O_RDWR, storage))
    if len(opened) == 2:
        return opened[0], opened[1]
    for file in opened:
        os.close(file.fd)
    both = open_file(path, os.O_RDWR, storage)
    return both, both
