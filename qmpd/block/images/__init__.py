"""Where the bytes of images live: storages that open images by file name.

An `Image` is an open handle on a file in memory, on a file of the host, or on memory that
covers a file of the host.  The classes are imported when they are first used: a program that
serves files of the host need not know how they are kept in memory.
"""

from __future__ import annotations

import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from qmpd.base.lazy import lazy_names
from qmpd.block.images.access import Access, access_of
from qmpd.block.images.host_files import HostFiles
from qmpd.block.images.room import Room

if TYPE_CHECKING:
    from qmpd.block.images.host_storage import HostStorage
    from qmpd.block.images.image import Image
    from qmpd.block.images.memory_storage import MemoryStorage
    from qmpd.block.images.overlay import OverlayStorage
    from qmpd.block.images.storage import Storage
    from qmpd.block.images.storages import Storages

__all__ = [
    "STORAGES",
    "Access",
    "HostFiles",
    "HostStorage",
    "Image",
    "MemoryStorage",
    "OverlayStorage",
    "Storage",
    "Storages",
    "access_of",
    "new_storage",
]

STORAGES: Final = MappingProxyType(
    {"memory": "MemoryStorage", "overlay": "OverlayStorage", "host": "HostStorage"}
)
"""The storages by the names that command lines and the API have for them."""


def new_storage(access: Access, memory_limit: int | None = None) -> Storage:
    """A storage of the mode of `access`, which is one of `STORAGES`.

    :param memory_limit: bytes that images in memory may take in all; None: as many as there are
    """
    kind = getattr(sys.modules[__name__], STORAGES[access.mode])
    storage: Storage = kind(HostFiles(access), Room(memory_limit))
    return storage


__getattr__ = lazy_names(
    __name__,
    {
        "HostStorage": "host_storage",
        "Image": "image",
        "MemoryStorage": "memory_storage",
        "OverlayStorage": "overlay",
        "Storage": "storage",
        "Storages": "storages",
    },
)
