"""What is left of an open image in a process that was killed."""

from __future__ import annotations

import errno

from qmpd.block.images.image import Image
from qmpd.block.images.locks import Locks
from qmpd.errors import BlockIOError


class CutImage(Image):
    """A handle that reaches no file: whatever is done with it fails (EIO).

    :raises BlockIOError: by everything but `close`
    """

    def _fail(self) -> BlockIOError:
        return BlockIOError(errno.EIO)

    def close(self) -> None:
        """There is nothing to close."""

    def new_locks(self) -> Locks:
        raise self._fail()

    def length(self) -> int:
        raise self._fail()

    def allocated(self) -> int:
        raise self._fail()

    def pread(self, offset: int, length: int) -> bytes:
        raise self._fail()

    def pwrite(self, offset: int, data: bytes | memoryview) -> None:
        raise self._fail()

    def punch(self, offset: int, length: int) -> None:
        raise self._fail()

    def zero(self, offset: int, length: int, *, may_unmap: bool) -> None:
        raise self._fail()

    def truncate(self, size: int) -> None:
        raise self._fail()

    def allocate(self, size: int) -> None:
        raise self._fail()

    def flush(self) -> None:
        raise self._fail()

    def extent(self, offset: int, length: int) -> tuple[bool, int]:
        raise self._fail()
