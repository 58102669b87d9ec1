"""The overlay storage: files of the host can be read, changes stay in memory."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from pyroaring import BitMap64

from qmpd.base.bits import next_set
from qmpd.base.override import override
from qmpd.block.images.access import EVERYWHERE, Access
from qmpd.block.images.host_files import HostFiles
from qmpd.block.images.host_storage import HostStorage
from qmpd.block.images.image import Fills, Image
from qmpd.block.images.memory import MemoryFile, file_of
from qmpd.block.images.memory_image import MemoryImage
from qmpd.block.images.memory_storage import MemoryStorage
from qmpd.block.images.room import Room
from qmpd.block.images.storage import ImageSize, Storage, could_not
from qmpd.block.permission_bits import CONSISTENT_READ, NOTHING, RESIZE, WRITE, Perm, Permissions
from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.block.images.host_image import HostImage
    from qmpd.block.images.locks import Locks

BLOCK: Final = 1 << 16
"""Bytes that are copied to memory together when a part of them is written."""


class _Overlay:
    """A host file and the changes that cover it.

    `top` is as long as the image; `own` has the numbers of the blocks that are in
    `top`; from `limit` on, the host's file is no longer visible.  The host's file is open as long
    as a handle is; changes stay.

    :param host: where the file is
    :param room: where the changes count
    """

    def __init__(self, host: HostStorage, filename: str, room: Room) -> None:
        self._host = host
        self._filename = filename
        self._below: HostImage | None = None
        self._handles = 0
        self._identity: Identity | None = None
        self._locks: Locks | None = None
        self._held: Permissions = NOTHING, NOTHING
        self.top = MemoryFile(room)
        self.top.hold()
        self.limit = 0
        self.own = BitMap64()

    @property
    def below(self) -> HostImage:
        """The host's file, which is open."""
        assert self._below is not None
        return self._below

    @property
    def is_open(self) -> bool:
        """Whether there are handles."""
        return self._below is not None

    def attach(self) -> None:
        """Another handle is opened.

        :raises BlockIOError: the host's file cannot be opened, or it is another one than that
            which the changes are to
        """
        if self._below is None:
            self._open()
        self._handles += 1

    def _open(self) -> None:
        below = self._host.open(self._filename, read_only=True)
        identity = _identity(below)
        if self._identity is not None and identity != self._identity:
            if self._changed:
                below.close()
                raise BlockIOError(
                    errno.ESTALE,
                    f"Could not open '{self._filename}': somebody has changed it while changes to"
                    " it were kept in memory",
                )
            self._identity = None
        if self._identity is None:
            self._identity = identity
            self.limit = below.length()
            self.top.truncate(self.limit)
        self._below, self._locks = below, below.new_locks()

    @property
    def _changed(self) -> bool:
        assert self._identity is not None
        return bool(self.own) or {self.limit, self.top.length} != {self._identity.size}

    def detach(self) -> None:
        """A handle is closed: after the last one the host's file is, with its locks."""
        self._handles -= 1
        if not self._handles:
            self.close()

    def hold(self, perm: Perm, unshared: Perm) -> None:
        """Lock the host's file like a reader."""
        assert self._locks is not None
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
        """Close the host's file."""
        below, self._below, self._locks = self._below, None, None
        self._held = NOTHING, NOTHING
        if below is not None:
            below.close()


class Identity(NamedTuple):
    """What tells a file from another one, and from what it was before somebody wrote to it."""

    device: int
    inode: int
    size: int
    modified: int


def _identity(image: HostImage) -> Identity:
    status = os.fstat(image.fd)
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class OverlayImage(MemoryImage):
    """A handle on an overlay: on the part in memory, with the host's file below it."""

    def __init__(self, overlay: _Overlay, *, read_only: bool) -> None:
        overlay.attach()
        super().__init__(overlay.top, read_only=read_only)
        self._overlay = overlay
        self._attached = True

    @override
    def close(self) -> None:
        super().close()
        if self._attached:
            self._attached = False
            self._overlay.detach()

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
        self._own(offset, len(data))

    def pwrite_parts(self, offset: int, parts: Sequence[bytes]) -> None:
        self.pwrite(offset, b"".join(parts))

    def punch(self, offset: int, length: int) -> None:
        self._copy_up(offset, length)
        super().punch(offset, length)
        self._own(offset, length)

    def zero(self, offset: int, length: int, *, may_unmap: bool) -> None:
        self._copy_up(offset, length)
        super().zero(offset, length, may_unmap=may_unmap)
        self._own(offset, length)

    def truncate(self, size: int) -> None:
        overlay = self._overlay
        if size < overlay.limit:
            # The last block that stays may be of both: the host's part of it is copied.
            if size % BLOCK:
                self._copy_up(size, 1)
                self._own(size, 1)
            overlay.limit = size // BLOCK * BLOCK
        super().truncate(size)

    def extent(self, offset: int, length: int) -> tuple[bool, int]:
        own, size = self._run(offset, length)
        if own:
            return super().extent(offset, size)
        return self._overlay.below.extent(offset, size)

    def fill_map(self, found: Fills, length: int) -> None:
        Image.fill_map(self, found, length)

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
            following = next_set(overlay.own, first)
            if following is None:
                return False, end - offset
            block = following
        return own, min(end, block * BLOCK) - offset

    def _copy_up(self, offset: int, length: int) -> None:
        """Copy blocks that are about to change in part to memory."""
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

    def _own(self, offset: int, length: int) -> None:
        """Show blocks that have changed as they are in memory."""
        if length > 0 and offset < self._overlay.limit:
            self._overlay.own.add_range(offset // BLOCK, (offset + length - 1) // BLOCK + 1)


class OverlayStorage(Storage):
    """Files of the host can be read; new files, and all changes, stay in memory.

    Files of the host must not change while they are covered, so they are locked like those of
    a read-only user, from the first node that needs them until the last one is closed: other
    programs can read them, too, but not write.

    :param host: the files of the host that are within reach; all if absent
    """

    def __init__(self, host: HostFiles | None = None, room: Room | None = None) -> None:
        super().__init__(HostFiles(Access("overlay", EVERYWHERE)) if host is None else host, room)
        self._host = HostStorage(self.host)
        self._new = MemoryStorage(self.host, self.room)
        self._overlays: dict[str, _Overlay] = {}

    def open(self, filename: str, *, read_only: bool = False) -> Image:
        if filename in self._new:
            return self._new.open(filename, read_only=read_only)
        overlay = self._overlays.get(filename)
        if overlay is None:
            overlay = _Overlay(self._host, filename, self.room)
        try:
            image = OverlayImage(overlay, read_only=read_only)
        except BlockIOError:
            if not read_only and self._is_directory(filename):
                raise could_not("open", filename, errno.EISDIR) from None
            raise
        self._overlays[filename] = overlay
        return image

    def _is_directory(self, filename: str) -> bool:
        try:
            return stat.S_ISDIR(self.host.stat(filename).st_mode)
        except OSError:
            return False

    def create(self, filename: str) -> Image:
        if not self.host.reaches(filename):
            # whether or not there is such a file on the host: to clients there is none
            return self._new.create(filename)
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
            image = OverlayImage(overlay, read_only=True)
            try:
                files[filename] = file_of(image)
            finally:
                image.close()
        return files

    def sizes(self) -> dict[str, ImageSize]:
        """What was made, and what has been covered, with the changes alone."""
        covered = {
            name: ImageSize(overlay.top.length, overlay.top.allocated())
            for name, overlay in self._overlays.items()
        }
        return self._new.sizes() | covered

    @override
    def remove(self, filename: str) -> None:
        overlay = self._overlays.pop(filename, None)
        if overlay is None:
            self._new.remove(filename)
        else:
            overlay.top.let_go()

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
        if overlay is not None and overlay.is_open:
            overlay.hold(perm, unshared)

    def close(self) -> None:
        self._new.close()
        for overlay in self._overlays.values():
            overlay.close()
        self._overlays.clear()
