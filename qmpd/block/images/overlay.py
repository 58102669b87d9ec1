"""The overlay storage: files of the host can be read, changes stay in memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from pyroaring import BitMap64

from qmpd.block.images.host_storage import HostStorage
from qmpd.block.images.image import Image
from qmpd.block.images.memory import MemoryFile, MemoryImage, file_of
from qmpd.block.images.memory_storage import MemoryStorage
from qmpd.block.images.storage import Storage, could_not
from qmpd.block.permission_bits import CONSISTENT_READ, NOTHING, RESIZE, WRITE, Perm, Permissions
from qmpd.errors import BlockIOError

BLOCK: Final = 1 << 16
"""Bytes that are copied to memory together when a part of them is written."""


class _Overlay:
    """A host file and the changes that cover it.

    `top` is as long as the image; `own` has the numbers of the blocks that are in
    `top`; from `limit` on, the host's file is no longer visible.
    """

    def __init__(self, below: Image) -> None:
        self.below = below
        self.top = MemoryFile()
        self.limit = below.length()
        self.own = BitMap64()
        self.top.truncate(self.limit)
        self._locks = below.new_locks()
        self._held: Permissions = NOTHING, NOTHING

    def hold(self, perm: Perm, unshared: Perm) -> None:
        """Lock the host's file like a reader."""
        held, held_unshared = self._held
        wanted = held | perm & CONSISTENT_READ, held_unshared | unshared & (WRITE | RESIZE)
        if wanted == self._held:
            return
        try:
            self._locks.lock(*wanted)
            self._locks.check(*wanted)
        except BlockIOError:
            self._locks.unlock_others(*self._held)
            raise
        self._held = wanted

    def __del__(self) -> None:
        # one that was never finished has nothing to close
        with suppress(AttributeError):
            self.close()

    def close(self) -> None:
        self.below.close()


class OverlayImage(MemoryImage):
    """A handle on an overlay: on the part in memory, with the host's file below it."""

    def __init__(self, overlay: _Overlay, *, read_only: bool) -> None:
        super().__init__(overlay.top, read_only=read_only)
        self._overlay = overlay

    def allocated(self) -> int:
        """Bytes of the host's file and of the changes."""
        return self._overlay.below.allocated() + super().allocated()

    def pread(self, offset: int, length: int) -> bytes:
        parts = []
        end = offset + length
        while offset < end:
            own, size = self._run(offset, end - offset)
            parts.append(
                super().pread(offset, size) if own else self._overlay.below.pread(offset, size)
            )
            offset += size
        return b"".join(parts)

    def parts(self, offset: int, length: int) -> Sequence[bytes]:
        return (self.pread(offset, length),)

    def pwrite(self, offset: int, data: bytes | memoryview) -> None:
        self._copy_up(offset, len(data))
        super().pwrite(offset, data)

    def punch(self, offset: int, length: int) -> None:
        self._copy_up(offset, length)
        super().punch(offset, length)

    def zero(self, offset: int, length: int, *, may_unmap: bool) -> None:
        self._copy_up(offset, length)
        super().zero(offset, length, may_unmap=may_unmap)

    def truncate(self, size: int) -> None:
        overlay = self._overlay
        if size < overlay.limit:
            # The last block that stays may be of both: the host's part of it is copied.
            if size % BLOCK:
                self._copy_up(size, 1)
            overlay.limit = size // BLOCK * BLOCK
        super().truncate(size)

    def extent(self, offset: int, length: int) -> tuple[bool, int]:
        own, size = self._run(offset, length)
        if own:
            return super().extent(offset, size)
        return self._overlay.below.extent(offset, size)

    def _run(self, offset: int, length: int) -> tuple[bool, int]:
        """Whether `offset` is in memory, and for how many of `length` bytes that holds."""
        overlay = self._overlay
        if offset >= overlay.limit:
            return True, length
        first = offset // BLOCK
        own = first in overlay.own
        end = min(offset + length, overlay.limit)
        block = first + 1
        if own:
            while block * BLOCK < end and block in overlay.own:
                block += 1
        else:
            try:
                block = overlay.own.next_set_bit(first)
            except ValueError:
                return False, end - offset
        return own, min(end, block * BLOCK) - offset

    def _copy_up(self, offset: int, length: int) -> None:
        """Copy blocks that are about to change in part to memory; mark the others."""
        overlay = self._overlay
        if length <= 0 or offset >= overlay.limit:
            return
        end = offset + length
        first, last = offset // BLOCK, (end - 1) // BLOCK
        for block in {first, last}:
            start = block * BLOCK
            whole = offset <= start and end >= min(start + BLOCK, overlay.limit)
            if not whole and start < overlay.limit and block not in overlay.own:
                size = min(BLOCK, overlay.limit - start)
                super().pwrite(start, overlay.below.pread(start, size))
        overlay.own.add_range(first, last + 1)


class OverlayStorage(Storage):
    """Files of the host can be read; new files, and all changes, stay in memory.

    Files of the host must not change while they are covered, so they are locked like those of
    a read-only user, from the first node that needs them until the storage is closed: other
    programs can read them, too, but not write.
    """

    def __init__(self) -> None:
        self._host = HostStorage()
        self._new = MemoryStorage()
        self._overlays: dict[str, _Overlay] = {}

    def open(self, filename: str, *, read_only: bool = False) -> Image:
        if filename in self._new:
            return self._new.open(filename, read_only=read_only)
        overlay = self._overlays.get(filename)
        if overlay is None:
            if not read_only and os.path.isdir(filename):
                raise could_not("open", filename, errno.EISDIR)
            overlay = _Overlay(self._host.open(filename, read_only=True))
            self._overlays[filename] = overlay
        return OverlayImage(overlay, read_only=read_only)

    def create(self, filename: str) -> Image:
        try:
            return self.open(filename)
        except BlockIOError as error:
            if error.errno != errno.ENOENT:
                raise
            return self._new.create(filename)

    def files(self) -> dict[str, MemoryFile]:
        """All files that were made or covered, by their names, with all of their bytes."""
        files = self._new.files()
        for filename, overlay in self._overlays.items():
            files[filename] = file_of(OverlayImage(overlay, read_only=True))
        return files

    @property
    def changes_host(self) -> bool:
        """No: changes stay in memory."""
        return False

    def mode(self, filename: str) -> int:
        """The mode of a new file, or of one of the host."""
        storage = self._new if filename in self._new else self._host
        return storage.mode(filename)

    def read_start(self, filename: str, length: int) -> bytes:
        """Read a file of the host as it is, unless it is covered."""
        if filename in self._new or filename in self._overlays:
            return super().read_start(filename, length)
        return self._host.read_start(filename, length)

    def hold(self, filename: str, perm: Perm, unshared: Perm) -> None:
        overlay = self._overlays.get(filename)
        if overlay is not None:
            overlay.hold(perm, unshared)

    def close(self) -> None:
        self._new.close()
        for overlay in self._overlays.values():
            overlay.close()
        self._overlays.clear()
