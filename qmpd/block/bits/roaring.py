"""Runs and bytes of a roaring bitmap, by way of its portable serialization.

pyroaring walks single values only.  A dirty bitmap is read as runs (extents of
dirty bytes) and as a little-endian bit string (the hash, the qcow2 file), so
this module reads and writes the containers of the portable format
(https://github.com/RoaringBitmap/RoaringFormatSpec): 65536 values each, kept as
an array of values, a list of runs or 8192 bytes of bits.

Bitmaps of more than 8 MiB are read window by window, so that nothing here ever
holds a second copy of a large one.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

from pyroaring import BitMap64

from qmpd.base.bits import next_set

CONTAINER = 1 << 16
"""Values in one container."""

CONTAINER_BYTES = CONTAINER // 8

WINDOW = 1 << 26
"""Values of a large bitmap that are read in one go."""

END = 1 << 63
"""Behind every value."""

_COOKIE_WITHOUT_RUNS = 12346
_COOKIE_WITH_RUNS = 12347
_OFFSETS_FROM = 4
_LARGEST_ARRAY = 4096

_RUN_OF_ONES = re.compile("1+")
_ZEROES = bytes(CONTAINER_BYTES)
_ONES = b"\xff" * CONTAINER_BYTES
_ALL = range(CONTAINER_BYTES)
_ONE_RUN = struct.Struct("<HH")

Run = tuple[int, int]
"""First value and the one behind the last."""


class Kind(Enum):
    """How a container keeps its values."""

    ARRAY = auto()
    RUNS = auto()
    BITS = auto()


class Container(NamedTuple):
    """One container: `payload` is its serialized body (without the number of runs)."""

    base: int
    kind: Kind
    cardinality: int
    payload: bytes


def windows(bits: BitMap64, first: int, last: int) -> Iterator[BitMap64]:
    """The values of `bits` in ``first .. last - 1``, as a sequence of small bitmaps."""
    if not bits:
        return
    if first <= bits.min() and bits.max() < last and _payload_bytes(bits) <= WINDOW // 8:
        yield bits
        return
    start = first
    while start < last:
        position = next_set(bits, start)
        if position is None or position >= last:
            return
        end = min(last, (position // WINDOW + 1) * WINDOW)
        window = BitMap64()
        window.add_range(position, end)
        yield bits & window
        start = end


def _payload_bytes(bits: BitMap64) -> int:
    """Memory that the containers take."""
    numbers = bits.get_statistics()
    return int(
        numbers["n_bytes_array_containers"]
        + numbers["n_bytes_run_containers"]
        + numbers["n_bytes_bitset_containers"]
    )


def containers(bits: BitMap64, first: int = 0, last: int = END) -> Iterator[Container]:
    """The containers that hold the values of ``first .. last - 1``, in order."""
    for data, base, keys, cardinalities, run_flags, position in _parts(bits, first, last):
        for key, cardinality, flag in zip(keys, cardinalities, run_flags, strict=True):
            if flag == "1":
                kind = Kind.RUNS
                start = position + 2
                position = start + 4 * (data[position] | data[position + 1] << 8)
            else:
                start = position
                kind = Kind.ARRAY if cardinality < _LARGEST_ARRAY else Kind.BITS
                position += 2 * cardinality + 2 if kind is Kind.ARRAY else CONTAINER_BYTES
            yield Container(base | key << 16, kind, cardinality + 1, data[start:position])


class _Part(NamedTuple):
    """A serialized bitmap of 32-bit values: its directory, and where the bodies start."""

    data: bytes
    base: int
    keys: tuple[int, ...]
    cardinalities: tuple[int, ...]
    """One less than the number of values of each container."""
    run_flags: str
    """For each container '1' when it is a list of runs."""
    position: int


def _parts(bits: BitMap64, first: int, last: int) -> Iterator[_Part]:
    """The 32-bit bitmaps that make up the values of ``first .. last - 1``."""
    for window in windows(bits, first, last):
        data = window.serialize()
        parts, high = struct.unpack_from("<QI", data)
        if parts == 1:
            yield _directory(data, high << 32)
        else:
            yield from _split(window)


def _split(bits: BitMap64) -> Iterator[_Part]:
    """The parts of a bitmap whose values differ in the high 32 bits."""
    position: int = bits.min()
    last: int = bits.max()
    while position <= last:
        position = bits.next_set_bit(position)
        base = position >> 32 << 32
        part = BitMap64()
        part.add_range(base, base + (1 << 32))
        yield _directory((bits & part).serialize(), base)
        position = base + (1 << 32)


def _directory(data: bytes, base: int) -> _Part:
    """Read the directory of the only 32-bit bitmap in `data`."""
    position = 12
    (cookie,) = struct.unpack_from("<I", data, position)
    position += 4
    if cookie & 0xFFFF == _COOKIE_WITH_RUNS:
        count = (cookie >> 16) + 1
        flag_bytes = (count + 7) // 8
        flags = int.from_bytes(data[position : position + flag_bytes], "little")
        run_flags = format(flags, f"0{count}b")[::-1]
        position += flag_bytes
        has_offsets = count >= _OFFSETS_FROM
    else:
        (count,) = struct.unpack_from("<I", data, position)
        position += 4
        run_flags = "0" * count
        has_offsets = True
    header = struct.unpack_from(f"<{2 * count}H", data, position)
    position += 4 * count * (2 if has_offsets else 1)
    return _Part(data, base, header[::2], header[1::2], run_flags, position)


def container_bytes(container: Container) -> bytes:
    """The bits of one container: 8192 bytes, lowest bit first."""
    if container.kind is Kind.BITS:
        return container.payload
    if container.cardinality == CONTAINER:
        return _ONES
    bits = bytearray(CONTAINER_BYTES)
    if container.kind is Kind.ARRAY:
        for value in struct.unpack(f"<{container.cardinality}H", container.payload):
            bits[value >> 3] |= 1 << (value & 7)
        return bytes(bits)
    for start, rest in struct.iter_unpack("<HH", container.payload):
        end = start + rest
        first, last = start >> 3, end >> 3
        head = 0xFF << (start & 7) & 0xFF
        tail = 0xFF >> (7 - (end & 7))
        if first == last:
            bits[first] |= head & tail
            continue
        bits[first] |= head
        bits[last] |= tail
        bits[first + 1 : last] = _ONES[: last - first - 1]
    return bytes(bits)


def byte_span(container: Container) -> range | None:
    """Where the bytes of one container are all ones, if they are zeroes everywhere else."""
    if container.cardinality == CONTAINER:
        return _ALL
    if container.kind is not Kind.RUNS or len(container.payload) != _ONE_RUN.size:
        return None
    start, rest = _ONE_RUN.unpack(container.payload)
    end = start + rest + 1
    return None if (start | end) & 7 else range(start >> 3, end >> 3)


def byte_runs(data: bytes) -> Iterator[Run]:
    """The runs of set bits in a little-endian bit string."""
    text = format(int.from_bytes(data, "little"), "b")[::-1]
    for match in _RUN_OF_ONES.finditer(text):
        yield match.span()


def runs(bits: BitMap64, first: int = 0, last: int = END) -> Iterator[Run]:
    """The maximal runs of values in ``first .. last - 1``, in order."""
    start = end = -1
    for run_start, run_end in _unjoined_runs(bits, first, last):
        if run_start != end:
            if end >= 0:
                yield start, end
            start = run_start
        end = run_end
    if end >= 0:
        yield start, end


def _unjoined_runs(bits: BitMap64, first: int, last: int) -> Iterator[Run]:
    """Like `runs`, split at the borders of containers; written out flat for speed."""
    for data, high, keys, cardinalities, run_flags, position in _parts(bits, first, last):
        for key, cardinality, flag in zip(keys, cardinalities, run_flags, strict=True):
            base = high | key << 16
            if flag == "1":
                end = position + 2 + 4 * (data[position] | data[position + 1] << 8)
                if cardinality == CONTAINER - 1:
                    yield base, base + CONTAINER
                elif end == position + 6:
                    start = base + (data[position + 2] | data[position + 3] << 8)
                    yield start, start + cardinality + 1
                else:
                    for value, rest in struct.iter_unpack("<HH", data[position + 2 : end]):
                        yield base + value, base + value + rest + 1
            elif cardinality < _LARGEST_ARRAY:
                end = position + 2 * cardinality + 2
                for value in struct.unpack_from(f"<{cardinality + 1}H", data, position):
                    yield base + value, base + value + 1
            else:
                end = position + CONTAINER_BYTES
                for value, stop in byte_runs(data[position:end]):
                    yield base + value, base + stop
            position = end


def to_bytes(bits: BitMap64, first: int, count: int) -> bytes:
    """Values ``first .. first + count - 1`` as a little-endian bit string.

    :param first: multiple of 8
    :returns: ``ceil(count / 8)`` bytes, bit 0 of byte 0 is `first`
    """
    length = (count + 7) // 8
    lowest = first // CONTAINER * CONTAINER
    result = bytearray((first - lowest) // 8 + length)
    for container in containers(bits, first, first + count):
        at = (container.base - lowest) // 8
        end = min(at + CONTAINER_BYTES, len(result))
        result[at:end] = container_bytes(container)[: end - at]
    return bytes(result[(first - lowest) // 8 :])


def from_bytes(data: bytes, first: int) -> BitMap64:
    """The values of a little-endian bit string whose bit 0 stands for `first`.

    :param first: multiple of 8
    """
    lowest = first // CONTAINER * CONTAINER
    data = bytes((first - lowest) // 8) + data
    result = BitMap64()
    for at in range(0, len(data), CONTAINER_BYTES * (WINDOW // CONTAINER)):
        piece = data[at : at + CONTAINER_BYTES * (WINDOW // CONTAINER)]
        result |= _window_from_bytes(piece, lowest + at * 8)
    return result


def _window_from_bytes(data: bytes, base: int) -> BitMap64:
    """Like `from_bytes`; `base` is a multiple of a container."""
    headers: dict[int, list[tuple[int, int, bool, bytes]]] = {}
    for at in range(0, len(data), CONTAINER_BYTES):
        piece = data[at : at + CONTAINER_BYTES].ljust(CONTAINER_BYTES, b"\0")
        if piece == _ZEROES:
            continue
        value = base + at * 8
        cardinality = int.from_bytes(piece, "little").bit_count()
        as_bits = _LARGEST_ARRAY < cardinality < CONTAINER
        body = piece if as_bits else _run_body(piece)
        entry = (value >> 16 & 0xFFFF, cardinality - 1, not as_bits, body)
        headers.setdefault(value >> 32, []).append(entry)
    parts = [struct.pack("<Q", len(headers))]
    for high, entries in headers.items():
        parts.append(struct.pack("<I", high))
        parts.append(_serialized32(entries))
    result = BitMap64.deserialize(b"".join(parts))
    result.run_optimize()
    return result


def _run_body(piece: bytes) -> bytes:
    """A container's bits as the body of a run container."""
    if piece == _ONES:
        return struct.pack("<HHH", 1, 0, CONTAINER - 1)
    spans = list(byte_runs(piece))
    numbers = [number for start, end in spans for number in (start, end - start - 1)]
    return struct.pack(f"<{1 + len(numbers)}H", len(spans), *numbers)


def _serialized32(entries: list[tuple[int, int, bool, bytes]]) -> bytes:
    """The portable format of a 32-bit bitmap of (key, cardinality - 1, has runs, body)."""
    count = len(entries)
    flags = sum(1 << index for index, entry in enumerate(entries) if entry[2])
    head = struct.pack("<HH", _COOKIE_WITH_RUNS, count - 1)
    head += flags.to_bytes((count + 7) // 8, "little")
    if not flags:
        head = struct.pack("<II", _COOKIE_WITHOUT_RUNS, count)
    head += b"".join(struct.pack("<HH", key, card) for key, card, _, _ in entries)
    if not flags or count >= _OFFSETS_FROM:
        offset = len(head) + 4 * count
        for entry in entries:
            head += struct.pack("<I", offset)
            offset += len(entry[3])
    return head + b"".join(entry[3] for entry in entries)
