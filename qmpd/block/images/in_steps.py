"""Very long requests to images in memory: others may have their turn between two steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.loop.completions import VERY_LONG

if TYPE_CHECKING:
    from qmpd.block.images.image import Image
    from qmpd.loop.completions import Completions


async def read_in_steps(completions: Completions, image: Image, offset: int, length: int) -> bytes:
    """What `Image.pread` returns."""
    parts = []
    for start in range(0, length, VERY_LONG):
        size = min(VERY_LONG, length - start)
        parts.append(image.pread(offset + start, size))
        await completions.rest()
    return b"".join(parts)


async def write_in_steps(
    completions: Completions, image: Image, offset: int, data: memoryview
) -> None:
    """Do what `Image.pwrite` does."""
    for start in range(0, len(data), VERY_LONG):
        image.pwrite(offset + start, data[start : start + VERY_LONG])
        await completions.rest()
