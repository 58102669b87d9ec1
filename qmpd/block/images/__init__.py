"""Where the bytes of images live: storages that open images by file name.

An `Image` is an open handle on a file in memory, on a file of the host, or on memory that
covers a file of the host.
"""

from __future__ import annotations

from qmpd.block.images.image import Image
from qmpd.block.images.overlay import OverlayStorage
from qmpd.block.images.storage import HostStorage, MemoryStorage, Storage, Storages

__all__ = ["HostStorage", "Image", "MemoryStorage", "OverlayStorage", "Storage", "Storages"]
