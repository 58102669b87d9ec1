"""The hash of a bitmap's bits, which takes seconds where it is of gigabytes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from . import roaring

if TYPE_CHECKING:
    from pyroaring import BitMap64

_BLOCK: Final = 1 << 20
_CONSTANT_BLOCKS: Final = (memoryview(bytes(_BLOCK)), memoryview(b"\xff" * _BLOCK))


def hashed_bytes(granules: int) -> int:
    """How many bytes the hash is of: whole words of 64 bits, at least one."""
    return max(8, (granules + 63) // 64 * 8)


def sha256(bits: BitMap64, granules: int) -> str:
    """Hash of the bit string, in hex.

    :param bits: they must not change meanwhile
    :param granules: how many bits there are, set or not
    """
    total = hashed_bytes(granules)
    digest = hashlib.sha256()
    done = 0
    ones = 0
    for container in roaring.containers(bits, 0, granules):
        position = container.base >> 3
        # most of a sparse bitmap are runs of whole bytes, which are not worth a buffer
        span = roaring.byte_span(container)
        if span is not None:
            position += span.start
        if position > done + ones:
            _hash_constant(digest, 1, ones)
            done += ones
            ones = 0
            _hash_constant(digest, 0, position - done)
            done = position
        if span is not None:
            ones += len(span)
            continue
        _hash_constant(digest, 1, ones)
        done += ones
        ones = 0
        piece = roaring.container_bytes(container)[: total - done]
        digest.update(piece)
        done += len(piece)
    _hash_constant(digest, 1, ones)
    _hash_constant(digest, 0, total - done - ones)
    return digest.hexdigest()


def _hash_constant(digest: hashlib._Hash, bit: int, length: int) -> None:
    """Hash `length` bytes of all zeroes or all ones."""
    block = _CONSTANT_BLOCKS[bit]
    while length > 0:
        digest.update(block[:length])
        length -= _BLOCK
