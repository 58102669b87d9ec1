"""What of the host the clients of a machine may reach, as the options of its owner say.

Each storage mode is a row of one table::

    mode       reads                              writes
    memory     nothing                            nothing
    overlay    allow_read                         nothing
    host       everything, or                     everything, or allow_write
               allow_read and allow_write

and in each of them sockets may be everywhere, or in `allow_sockets`.

What the owner names while the machine is set up may be reached as well: see
`qmpd.block.images.host_files.HostFiles.naming`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

Paths = Iterable["str | os.PathLike[str]"] | os.PathLike[str]
"""Paths, or a single one."""


class Places(NamedTuple):
    """Files of the host, and directories with all that is below them.

    :param roots: their real paths; None: everything
    """

    roots: tuple[str, ...] | None

    @classmethod
    def below(cls, paths: Paths) -> Places:
        """The places at and below `paths`; symbolic links are followed now, and not again."""
        if isinstance(paths, str | os.PathLike):
            paths = (paths,)
        return cls(tuple(os.path.realpath(path) for path in paths))

    @property
    def everywhere(self) -> bool:
        """Whether every file is here."""
        return self.roots is None

    def has(self, real_path: str) -> bool:
        """Whether a file is here.

        :param real_path: its path, without symbolic links
        """
        if self.roots is None:
            return True
        return any(
            real_path == root or real_path.startswith(root.rstrip("/") + "/") for root in self.roots
        )


EVERYWHERE: Final = Places(None)
NOWHERE: Final = Places(())


class Access(NamedTuple):
    """What clients may reach.

    :param mode: the storage mode, for messages
    :param reads: files that are read
    :param writes: files that are made, written or removed; they may be read, too
    :param sockets: where clients' unix sockets are; unless it is everywhere, clients reach no
        other sockets than these: no TCP, no UDP, no abstract names
    """

    mode: str
    reads: Places = NOWHERE
    writes: Places = NOWHERE
    sockets: Places = EVERYWHERE

    @property
    def programs(self) -> bool:
        """Whether programs may be run, which reach whatever they like."""
        return self.writes.everywhere and self.sockets.everywhere


QEMUS: Final = Access("host", EVERYWHERE, EVERYWHERE, EVERYWHERE)
"""What clients of QEMU may reach: all that the process may."""


def access_of(
    mode: str,
    allow_write: Paths | None = None,
    allow_read: Paths | None = None,
    allow_sockets: Paths | None = None,
) -> Access:
    """What the options of a machine allow.

    :param mode: ``memory``, ``overlay`` or ``host``
    :param allow_write: files and directories where images may be written; None: the mode's usual
    :param allow_read: files and directories where images may be read; None: the mode's usual
    :param allow_sockets: directories where clients' sockets may be; None: everywhere
    :raises ValueError: the mode has no use for one of them
    """
    if allow_write is not None and mode != "host":
        raise ValueError(f"storage '{mode}' writes no files: allow_write is for storage 'host'")
    if allow_read is not None and mode == "memory":
        raise ValueError("storage 'memory' reads no files: allow_read is for 'overlay' and 'host'")
    if allow_read is not None and mode == "host" and allow_write is None:
        raise ValueError(
            "with storage 'host' allow_read needs allow_write: what may be written may be read"
        )
    sockets = EVERYWHERE if allow_sockets is None else Places.below(allow_sockets)
    reads = NOWHERE if allow_read is None else Places.below(allow_read)
    if mode != "host":
        return Access(mode, reads, NOWHERE, sockets)
    writes = EVERYWHERE if allow_write is None else Places.below(allow_write)
    return Access(mode, EVERYWHERE if allow_read is None else reads, writes, sockets)
