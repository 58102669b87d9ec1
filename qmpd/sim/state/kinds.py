"""What a copy of a machine shares with it, and what is copied in a way of its own."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from pyroaring import BitMap64

from qmpd.base.descriptor import Descriptor
from qmpd.block.images.access import Access
from qmpd.block.images.host_image import HostImage
from qmpd.block.images.memory import MemoryFile
from qmpd.block.images.room import Room
from qmpd.block.manners import Manners
from qmpd.block.model.flags import CacheMode, NodeFlags
from qmpd.block.model.limits import Alignments
from qmpd.block.model.parent import ChildClass
from qmpd.export.nbd.dialect import Dialect
from qmpd.monitor.qmp.handlers import LazyHandlers
from qmpd.monitor.reserve import Reserve
from qmpd.options.qemu_opts import OptionGroup
from qmpd.profile.devices import DeviceTables
from qmpd.profile.profile import Profile, Texts
from qmpd.profile.rules import Rules
from qmpd.sim.power.file import OrderedFile
from qmpd.wire.session import StateRule

SHARED: Final = frozenset(
    {
        *(Access, Alignments, CacheMode, ChildClass, DeviceTables, Dialect, LazyHandlers, Manners),
        *(NodeFlags, OptionGroup, Profile, Rules, StateRule, Texts, object),
    }
)
"""Classes whose instances never change: constants of modules, and what a version is made of."""


class _Copier(Protocol):
    def of(self, value: Any, /) -> Any: ...
    def later(self, fill: Callable[[], None], /) -> None: ...
    def remember(self, value: Any, copied: Any, /) -> None: ...


def _memory_file(copier: _Copier, value: MemoryFile) -> MemoryFile:
    """The bytes are shared until they are written to; locks are those of the copied handles."""
    copied = value.fork()
    copied.room = copier.of(value.room)
    copied.users = value.users
    if copied.users:
        copied.room.add(copied)
    if isinstance(copied, OrderedFile):
        copied.happened = copier.of(copied.happened)
    copier.remember(value.locks, copied.locks)
    copier.later(lambda: copied.locks.extend(map(copier.of, value.locks)))
    return copied


def _host_image(copier: _Copier, value: HostImage) -> HostImage:
    """The same open file; its locks last until the last of these handles is closed."""
    fd = os.dup(value.fd) if value.fd >= 0 else -1
    return HostImage(fd, read_only=value.read_only)


def _descriptor(_: _Copier, value: Descriptor) -> Descriptor:
    copied = Descriptor(-1)
    copied.number = None if value.number is None else os.dup(value.number)
    return copied


COPIES: Final[Mapping[type, Callable[[_Copier, Any], Any]]] = MappingProxyType(
    {
        BitMap64: lambda _, value: value.copy(),
        Descriptor: _descriptor,
        HostImage: _host_image,
        MemoryFile: _memory_file,
        # of its own: files of another machine count there
        Room: lambda _, value: Room(value.limit),
        # the process's, whichever machine it is
        Reserve: lambda _, value: value,
        array: lambda _, value: value[:],
        bytearray: lambda _, value: value[:],
    }
)
"""How instances of these classes are copied."""
