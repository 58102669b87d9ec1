"""The order in which GLib's hash tables list their keys.

QOM keeps the properties and children of an object in such tables, and QEMU's input visitor the
members of an object that it has not visited yet.  GLib does not define the order; this is the one
of GLib 2.60 and later (open addressing, triangular probing, growth at 15/16 load, shrinking below
1/4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import TypeVar

from qmpd.base.qdict import c_bytes, member_order

V = TypeVar("V")

_MIN_SHIFT = 3
_UNUSED = 0
_TOMBSTONE = 1
_PRIMES = (1, 2, 3, 7, 13, 31, 61, 127, 251, 509, 1021, 2039, 4093, 8191, 16381, 32749)
_MORE_PRIMES = (65521, 131071, 262139, 524287, 1048573, 2097143, 4194301, 8388593)
_MODULUS = _PRIMES + _MORE_PRIMES
"""The modulus for a table of 2**index slots: the largest prime below it."""


def string_hash(key: str) -> int:
    """GLib's g_str_hash of `key`, 32 bits."""
    value = 5381
    for byte in c_bytes(key):
        value = (value * 33 + (byte - 256 if byte > 127 else byte)) & 0xFFFFFFFF
    return value


class StringTable:
    """A GLib hash table used as a set of strings."""

    def __init__(self) -> None:
        self._set_size(_MIN_SHIFT)
        self._hashes = [_UNUSED] * self._size
        self._keys: list[str | None] = [None] * self._size
        self._count = 0
        self._occupied = 0

    def _set_size(self, shift: int) -> None:
        self._size = 1 << shift
        self._modulus = _MODULUS[shift]

    def _slot(self, hash_value: int) -> int:
        return (hash_value * 11 & 0xFFFFFFFF) % self._modulus

    def _find(self, key: str, hash_value: int) -> int:
        """The slot of `key`, or the free slot for it: the first tombstone on the way, if any."""
        slot = self._slot(hash_value)
        step = 0
        freed: int | None = None
        while self._hashes[slot] != _UNUSED and self._keys[slot] != key:
            if freed is None and self._hashes[slot] == _TOMBSTONE:
                freed = slot
            step += 1
            slot = (slot + step) & (self._size - 1)
        return slot if freed is None or self._keys[slot] == key else freed

    def add(self, key: str) -> None:
        """Insert `key`, which is not in the table."""
        hash_value = max(string_hash(key), 2)
        slot = self._find(key, hash_value)
        fresh = self._hashes[slot] == _UNUSED
        self._hashes[slot] = hash_value
        self._keys[slot] = key
        self._count += 1
        if fresh:
            self._occupied += 1
            self._maybe_resize()

    def remove(self, key: str) -> None:
        """Take out `key`, which is in the table."""
        slot = self._find(key, max(string_hash(key), 2))
        self._hashes[slot] = _TOMBSTONE
        self._keys[slot] = None
        self._count -= 1
        self._maybe_resize()

    def first(self) -> str | None:
        """The key that iteration finds first; None when the table is empty."""
        return next((key for key in self._keys if key is not None), None)

    def keys(self) -> list[str]:
        """All keys in the order of iteration."""
        return [key for key in self._keys if key is not None]

    def _maybe_resize(self) -> None:
        sparse = self._size > self._count * 4 and self._size > 1 << _MIN_SHIFT
        if sparse or self._size <= self._occupied + self._occupied // 16:
            self._resize()

    def _resize(self) -> None:
        """Rehash in place (``g_hash_table_resize``): displaced keys move on at once."""
        old_size = self._size
        self._set_size(max(int(self._count * 1.333).bit_length(), _MIN_SHIFT))
        grown = max(self._size - old_size, 0)
        hashes = self._hashes + [_UNUSED] * grown
        keys = self._keys + [None] * grown
        settled = [False] * len(hashes)
        for index in range(old_size):
            if hashes[index] in (_UNUSED, _TOMBSTONE):
                hashes[index] = _UNUSED
                continue
            if settled[index]:
                continue
            moving, key = hashes[index], keys[index]
            hashes[index], keys[index] = _UNUSED, None
            while moving > _TOMBSTONE:
                slot = self._slot(moving)
                step = 0
                while settled[slot]:
                    step += 1
                    slot = (slot + step) & (self._size - 1)
                settled[slot] = True
                hashes[slot], moving = moving, hashes[slot]
                keys[slot], key = key, keys[slot]
        self._hashes, self._keys = hashes[: self._size], keys[: self._size]
        self._occupied = self._count


class GHashTable(MutableMapping[str, V]):
    """A mapping that lists its keys in the order of a ``GHashTable`` of strings.

    :param items: the first entries, in the order of their insertion
    """

    def __init__(self, items: Mapping[str, V] | None = None) -> None:
        self._table = StringTable()
        self._values: dict[str, V] = {}
        for key, value in (items or {}).items():
            self[key] = value

    def __getitem__(self, key: str) -> V:
        return self._values[key]

    def __setitem__(self, key: str, value: V) -> None:
        if key not in self._values:
            self._table.add(key)
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._table.remove(key)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.keys())

    def __len__(self) -> int:
        return len(self._values)


def first_unexpected(keys: Iterable[str], visited: Sequence[str]) -> str | None:
    """The member that QEMU reports as unexpected (``qobject_input_check_struct``).

    The visitor copies the keys of an object into a hash table, in the order of QEMU's own
    dictionary, removes each that it visits, and reports the first that is left.

    :param keys: the object's keys in the order in which they were sent
    :param visited: the known ones among them, in the order of the visit
    :return: the name of one that was not visited; None when all were
    """
    table = StringTable()
    for key in member_order(keys):
        table.add(key)
    for key in visited:
        table.remove(key)
    return table.first()
