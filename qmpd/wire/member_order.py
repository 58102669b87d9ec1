"""The order in which QEMU's objects list their members.

QEMU keeps an object in a hash table of 512 buckets; iteration goes through the
buckets upwards and finds, inside one, the member inserted last first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from qmpd.wire.unicode import encode

BUCKETS: Final = 512
_MASK: Final = 0xFFFFFFFF


def bucket(name: str) -> int:
    """The bucket of member `name`, 0 to 511."""
    data = encode(name)
    value = 0x238F13AF * len(data)
    for index, byte in enumerate(data):
        value += byte << (index * 5 % 24)
    return (1103515243 * (value & _MASK) + 12345 & _MASK) % BUCKETS


def member_order(names: Iterable[str]) -> list[str]:
    """`names`, given in the order of their insertion, in the order of iteration."""
    latest_first = list(names)[::-1]
    return sorted(latest_first, key=bucket)
