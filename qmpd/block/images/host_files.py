"""The gate: the one way to files of the host that clients have named.

Whatever opens, makes, removes or looks at a file for a client does it here, images, logs, secrets
and sockets alike, and gets no further than `Access` says.  What is refused is refused in the same
words whether the file is there or not.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Final

from qmpd.block.images.access import NOWHERE, QEMUS, Access

_TEXT: Final = 1 << 20
"""Most bytes that are read of a small file."""
_STEP: Final = 1 << 20
"""Most bytes that are read at a time."""

_READERS: Final = {"overlay": "--allow-read", "host": "--allow-read, --allow"}
"""The options by which a mode reads more."""


class OutOfReachError(PermissionError):
    """A file of the host that clients may not reach."""

    def __init__(self, path: str | None, reason: str) -> None:
        super().__init__(errno.EACCES, f"{os.strerror(errno.EACCES)} ({reason})", path)


class Naming:
    """The block of `HostFiles.naming`; a class, and no generator: each machine has one."""

    __slots__ = ("_files",)

    def __init__(self, files: HostFiles) -> None:
        self._files = files

    def __enter__(self) -> None:
        self._files.begin_naming()

    def __exit__(self, *_: object) -> None:
        self._files.end_naming()


class HostFiles:
    """Files of the host, as far as clients of one machine may reach them.

    :param access: how far that is
    """

    def __init__(self, access: Access = QEMUS) -> None:
        self.access = access
        self._naming = 0
        # real paths of images that the owner has named, and whether they may be written
        self._named: dict[str, bool] = {}

    def naming(self) -> Naming:
        """While the block lasts it is the owner who names files: all may be reached.

        Images that are opened meanwhile may be opened again later: see `image_opened`.
        """
        return Naming(self)

    def begin_naming(self) -> None:
        """From now on it is the owner who names files."""
        self._naming += 1

    def end_naming(self) -> None:
        """From now on it is clients who name files."""
        self._naming -= 1

    def image_opened(self, path: str, *, writes: bool) -> None:
        """An image has been opened, or will be: where the owner has named it, it may be again.

        :param writes: whether it is for writing; no mode but ``host`` writes any
        """
        if self._naming and not self._everywhere(writes=True):
            real = os.path.realpath(path)
            writes = writes and self.access.mode == "host"
            self._named[real] = writes or self._named.get(real, False)

    @property
    def is_naming(self) -> bool:
        """Whether it is the owner who names files."""
        return self._naming > 0

    @property
    def hides(self) -> bool:
        """Whether clients may not learn which files there are."""
        return not self._naming and not self._everywhere(writes=False)

    # Files

    def open(self, path: str, flags: int, mode: int = 0o666, *, waits: bool = False) -> int:
        """Open a file as open(2) does; the descriptor is not inherited by programs.

        Nobody waits for the other end of a FIFO, or for a device.

        :param flags: as open(2) has them
        :param mode: permission bits of a new file
        :param waits: whether to wait all the same where the owner has named the file
        :raises OSError: it cannot be opened
        """
        flags |= os.O_CLOEXEC | os.O_NOCTTY
        if "\0" in path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if waits and self._naming:
            return os.open(path, flags, mode)
        fd = self._open(path, flags | os.O_NONBLOCK, mode)
        if not flags & os.O_NONBLOCK:
            os.set_blocking(fd, True)
        return fd

    def _open(self, path: str, flags: int, mode: int) -> int:
        writes = flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & (os.O_CREAT | os.O_TRUNC))
        if self._naming or self._everywhere(writes=writes):
            return os.open(path, flags, mode)
        real = self._reachable(path, writes=writes)
        # The directory is held, and looked at again: a link that has been put in the way since
        # leads nowhere.
        folder, name = os.path.split(real)
        held = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if os.readlink(f"/proc/self/fd/{held}") != folder:
                raise self._refusal(path, writes=writes)
            return os.open(name or ".", flags | os.O_NOFOLLOW, mode, dir_fd=held)
        finally:
            os.close(held)

    def _everywhere(self, *, writes: bool) -> bool:
        return self.access.writes.everywhere or (not writes and self.access.reads.everywhere)

    def _reachable(self, path: str, *, writes: bool) -> str:
        """The real path of a file that may be reached.

        :raises OutOfReachError: it may not
        """
        access = self.access
        if access.reads == access.writes == NOWHERE and not self._named:
            # not even links are looked at
            raise self._refusal(path, writes=writes)
        real = os.path.realpath(path)
        if access.writes.has(real) or self._named.get(real, False):
            return real
        if not writes and (access.reads.has(real) or real in self._named):
            return real
        raise self._refusal(path, writes=writes)

    def reaches(self, path: str) -> bool:
        """Whether a file may be read, if it is there."""
        if self._naming or self._everywhere(writes=False):
            return True
        try:
            self._reachable(path, writes=False)
        except (OSError, ValueError):
            return False
        return True

    def _refusal(self, path: str, *, writes: bool) -> OutOfReachError:
        mode = self.access.mode
        if writes:
            option = "--allow" if mode == "host" else None
        else:
            option = _READERS.get(mode)
        reason = f"out of reach with storage '{mode}'"
        return OutOfReachError(path, reason if option is None else f"{reason}; see {option}")

    def stat(self, path: str) -> os.stat_result:
        """What stat(2) tells of a file.

        :raises OSError: there is none, or it is out of reach
        """
        if "\0" in path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if not self._naming and not self._everywhere(writes=False):
            path = self._reachable(path, writes=False)
        return os.stat(path)

    def usable(self, path: str) -> bool:
        """Whether a file, or a device, is within reach and may be read and written."""
        try:
            self.stat(path)
        except OSError:
            return False
        return os.access(path, os.R_OK | os.W_OK)

    def real_path(self, path: str) -> str:
        """The absolute name of a file, without symbolic links."""
        return os.path.realpath(path)

    def read(self, path: str, length: int = _TEXT) -> bytes:
        """The first bytes of a file of any kind.

        :param length: most of them
        :raises OSError: it cannot be read, or there is nothing to read yet
        """
        fd = self.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            parts, left = [], length
            while left and (part := os.read(fd, min(left, _STEP))):
                parts.append(part)
                left -= len(part)
            return b"".join(parts)
        finally:
            os.close(fd)

    def temporary_directory(self) -> str:
        """Where QEMU puts temporary files (``create_tmp_file``)."""
        directory = os.environ.get("TMPDIR") or "/tmp"
        return "/var/tmp" if directory == "/tmp" else directory

    def check_directory(self, path: str) -> None:
        """Check that files can be made in a directory.

        :raises OSError: they cannot
        """
        if not stat.S_ISDIR(os.stat(path).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, path)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, path)

    def check_link(self, path: str) -> None:
        """Check that a symbolic link may be made.

        :raises OSError: it may not
        """
        if not self._naming and not self.access.writes.everywhere:
            self._reachable(path, writes=True)

    def link(self, target: str, path: str) -> None:
        """Make a symbolic link.

        :raises OSError: it cannot be made
        """
        self.check_link(path)
        os.symlink(target, path)

    def remove_link(self, target: str, path: str) -> None:
        """Remove the symbolic link that `link` has made, if it is still that one."""
        with suppress(OSError):
            if os.readlink(path) == target:
                os.unlink(path)

    def delete(self, path: str) -> None:
        """Delete a file.

        :raises OSError: it cannot be deleted
        """
        if not self._naming and not self.access.writes.everywhere:
            path = self._reachable(path, writes=True)
        os.unlink(path)

    # What is no file

    def check_program(self) -> None:
        """Check that programs may be run.

        :raises OutOfReachError: they may not
        """
        if not self._naming and not self.access.programs:
            raise OutOfReachError(None, "programs are not run where access is limited")

    def check_descriptor(self) -> None:
        """Check that a descriptor of the process may be taken by its number, as QEMU lets clients.

        :raises OutOfReachError: it may not: it can be anybody's
        """
        if not self._naming and not self.access.programs:
            reason = "descriptors of the process are out of reach where access is limited"
            raise OutOfReachError(None, reason)

    def check_socket(self, path: str | None) -> None:
        """Check that a socket may be listened at, or connected to.

        :param path: of a unix socket; None for all others
        :raises OutOfReachError: it may not
        """
        sockets = self.access.sockets
        if self._naming or sockets.everywhere:
            return
        if path is None or "\0" in path or not sockets.has(os.path.realpath(path)):
            raise OutOfReachError(path, "out of reach; see --allow-sockets")
