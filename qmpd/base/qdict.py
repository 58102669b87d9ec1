"""The order in which QEMU's objects list their members.

QEMU keeps an object in a hash table of 512 buckets; iteration goes through the
buckets upwards and finds, inside one, the member inserted last first.  Replies
show it, and so do the ``json:`` file names of the block layer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import cycle
from operator import mul
from typing import Any, Final, TypeVar

V = TypeVar("V")

BUCKETS: Final = 512
_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-f]{4}|.)")
_MASK: Final = 0xFFFFFFFF
_WEIGHTS: Final[Sequence[int]] = [1 << index * 5 % 24 for index in range(24)]
_STEP: Final = 1000 * len(_WEIGHTS)
_LONGEST_KEPT: Final = 256
"""Longest name whose bucket is remembered: clients can make up any."""


def c_bytes(text: str) -> bytes:
    """`text` as a C string of QEMU: UTF-8, with U+0000 as the two bytes C0 80."""
    return text.encode("utf-8", "surrogatepass").replace(b"\0", b"\xc0\x80")


class _NotKept(Exception):
    """What is too long to be remembered."""


def bucket(name: str) -> int:
    """The bucket of member `name`, 0 to 511 (QEMU's `tdb_hash`, qobject/qdict.c)."""
    data = c_bytes(name)
    value = 0x238F13AF * len(data)
    if len(data) <= _STEP:
        value += sum(map(mul, data, cycle(_WEIGHTS)))
    else:
        # in steps that hold no other thread up
        for start in range(0, len(data), _STEP):
            step = data[start : start + _STEP]
            value += sum(
                weight * sum(step[index :: len(_WEIGHTS)]) for index, weight in enumerate(_WEIGHTS)
            )
    return (1103515243 * (value & _MASK) + 12345 & _MASK) % BUCKETS


@lru_cache(maxsize=1 << 14)
def _kept_bucket(name: str) -> int:
    if len(name) > _LONGEST_KEPT:
        raise _NotKept
    return bucket(name)


def member_order(names: Iterable[str]) -> list[str]:
    """Sort `names`, given in the order of insertion, into the order of iteration."""
    newest_first = [*names][::-1]
    if len(newest_first) < 2:
        return newest_first
    try:
        return sorted(newest_first, key=_kept_bucket)
    except _NotKept:
        return sorted(newest_first, key=bucket)


class QDict(Mapping[str, V]):
    """A mapping that lists its members in the order of a ``QDict``.

    :param members: in the order of their insertion
    """

    def __init__(self, members: Mapping[str, V]) -> None:
        self._members = {name: members[name] for name in member_order(members)}

    def __getitem__(self, name: str) -> V:
        return self._members[name]

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def ordered(value: Mapping[str, Any]) -> dict[str, Any]:
    """`value` with its members in QEMU's order, nested objects too."""
    return {name: _ordered_any(value[name]) for name in member_order(value)}


def _ordered_any(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ordered(value)
    return [_ordered_any(item) for item in value] if isinstance(value, list) else value


def to_json(value: Mapping[str, Any]) -> str:
    """`value` as QEMU prints it in one line; control characters and the like escaped."""
    return _ESCAPE.sub(_as_qemu, json.dumps(ordered(value)).replace("\x7f", "\\u007f"))


def _as_qemu(escape: re.Match[str]) -> str:
    text = escape[0]
    return "\\u" + text[2:].upper() if text[1] == "u" else text
