"""Where the bytes of images live: storages that open images by file name.

An `Image` is an open file descriptor, whatever it belongs to: an anonymous
file in memory, a file of the host, or memory over a file of the host.
"""

from __future__ import annotations

from qmpd.block.images.image import Image
from qmpd.block.images.overlay import OverlayStorage
from qmpd.block.images.storage import HostStorage, MemoryStorage, Storage

__all__ = ["HostStorage", "Image", "MemoryStorage", "OverlayStorage", "Storage"]
