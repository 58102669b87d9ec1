"""Backend ``file``: output goes to a file, and there is no input."""

from __future__ import annotations

import os
from contextlib import suppress

from qmpd.base.override import override
from qmpd.errors import GenericError
from qmpd.server.chardev.chardev import Chardev


class FileChardev(Chardev):
    """A file that takes output.

    :param append: keep what is in the file
    :raises GenericError: it cannot be opened
    """

    def __init__(self, label: str, path: str, *, append: bool = False) -> None:
        super().__init__(label)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        flags |= os.O_APPEND if append else os.O_TRUNC
        try:
            self._file = open(os.open(path, flags, 0o666), "wb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise GenericError(f"Could not open '{path}': {error.strerror}") from None
        self.is_open = True

    @property
    def filename(self) -> str:
        """As QEMU names it."""
        return "file"

    @override
    def write(self, data: bytes) -> None:
        # what a full disk does not take is lost, as in QEMU (qemu_chr_write_buffer)
        with suppress(OSError):
            while data:
                data = data[self._file.write(data) or 0 :]

    @override
    def close(self) -> None:
        self._file.close()
