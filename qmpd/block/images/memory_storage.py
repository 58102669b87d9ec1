"""The memory storage: image files are sparse files in memory."""

from __future__ import annotations

import errno
import os
import stat

from qmpd.base.override import override
from qmpd.block.images.access import access_of
from qmpd.block.images.host_files import HostFiles
from qmpd.block.images.image import Image
from qmpd.block.images.memory import MemoryFile
from qmpd.block.images.memory_image import MemoryImage
from qmpd.block.images.room import Room
from qmpd.block.images.storage import ImageSize, Storage, could_not


class MemoryStorage(Storage):
    """Sparse files in memory, one for each file name; nothing on disk is touched.

    They need no file descriptors and go with the storage: nobody has to close a machine that is
    no longer used.
    """

    def __init__(self, host: HostFiles | None = None, room: Room | None = None) -> None:
        super().__init__(HostFiles(access_of("memory")) if host is None else host, room)
        self._files: dict[str, MemoryFile] = {}

    def open(self, filename: str, *, read_only: bool = False) -> Image:
        file = self._files.get(filename)
        if file is None:
            raise could_not("open", filename, errno.ENOENT)
        return MemoryImage(file, read_only=read_only)

    def create(self, filename: str) -> Image:
        file = self._files.get(filename)
        if file is None:
            file = self._files[filename] = self._new_file(filename)
            file.hold()
        return MemoryImage(file, read_only=False)

    def _new_file(self, filename: str) -> MemoryFile:
        """An empty file."""
        return MemoryFile(self.room)

    @property
    def reads_host(self) -> bool:
        """No: a name of the host's means nothing here."""
        return False

    @property
    def changes_host(self) -> bool:
        """No: nothing on disk is touched."""
        return False

    def mode(self, filename: str) -> int:
        """Regular files are all there is."""
        if filename not in self._files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), filename)
        return stat.S_IFREG | 0o644

    def temporary_name(self, end: str) -> str:
        """Made up: there are no directories."""
        return f"/var/tmp/vl.{end}"

    def real_path(self, filename: str) -> str:
        """The absolute name: there are no links."""
        return os.path.abspath(filename)

    def __contains__(self, filename: str) -> bool:
        return filename in self._files

    def files(self) -> dict[str, MemoryFile]:
        """All files by their names."""
        return dict(self._files)

    def put(self, filename: str, file: MemoryFile) -> None:
        """Have a file, in the place of one of the same name."""
        file.room = self.room
        file.hold()
        before = self._files.get(filename)
        self._files[filename] = file
        if before is not None:
            before.let_go()

    def sizes(self) -> dict[str, ImageSize]:
        """All files by their names."""
        return {
            name: ImageSize(file.length, file.allocated()) for name, file in self._files.items()
        }

    @override
    def remove(self, filename: str) -> None:
        if filename not in self._files:
            super().remove(filename)
        self._files.pop(filename).let_go()

    def close(self) -> None:
        while self._files:
            self._files.popitem()[1].let_go()
