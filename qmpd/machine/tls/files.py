"""The directories that credentials lie in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.images import Storages

LONGEST: Final = 1 << 20
"""Bytes of the longest file of credentials that is read."""


class CredentialFiles:
    """The files in one directory, read by way of the machine's storage.

    A machine whose images are in memory sees no files of the host here either.

    :param directory: None where nobody has named one
    """

    def __init__(self, storage: Storages, directory: str | None) -> None:
        self._storage = storage
        self._directory = directory

    def path(self, name: str, *, required: bool = True) -> str | None:
        """The path of a file (``qcrypto_tls_creds_get_path``); None where it need not be there.

        :raises GenericError: it has to be
        """
        if self._directory is None:
            if required:
                raise GenericError("Missing 'dir' property value")
            return None
        path = f"{self._directory}/{name}"
        try:
            self._storage.mode(path)
        except FileNotFoundError as error:
            if not required:
                return None
            raise _no_access(path, error) from None
        except (OSError, ValueError) as error:
            raise _no_access(path, error) from None
        return path

    def read(self, path: str) -> bytes:
        """What a file holds.

        :raises GenericError: it cannot be read
        """
        try:
            image = self._storage.open(path, read_only=True)
        except BlockIOError as error:
            raise GenericError(
                f"Failed to open file \u201c{path}\u201d: {os.strerror(error.errno)}"
            ) from None
        try:
            return image.pread(0, min(image.length(), LONGEST))
        finally:
            image.close()


@contextmanager
def as_file(data: bytes) -> Iterator[str]:
    """A path of `data`, for who takes nothing else: the bytes, such as keys, stay in memory."""
    fd = os.memfd_create("qmpd")
    try:
        os.write(fd, data)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _no_access(path: str, error: Exception) -> GenericError:
    reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
    return GenericError(f"Unable to access credentials {path}: {reason}")
