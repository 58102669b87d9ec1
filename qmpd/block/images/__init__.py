"""Where the bytes of images live: storages that open images by file name.

An `Image` is an open file descriptor, whatever it belongs to: an anonymous
file in memory, or a file of the host.
"""

from __future__ import annotations

from qmpd.block.images.image import Image
from qmpd.block.images.storage import HostStorage, MemoryStorage, OverlayStorage, Storage

__all__ = ["HostStorage", "Image", "MemoryStorage", "OverlayStorage", "Storage"]
