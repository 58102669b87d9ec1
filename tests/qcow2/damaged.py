"""Images with something wrong in them, and what is done with one: the same for the same seed."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Final

SIZE: Final = 1 << 20
LONGEST_L1: Final = 4096
"""Entries."""
SNAPSHOTS = ("one", "two")
BITMAPS_EXTENSION = 0x23852875

Request = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """How an image is made.

    :param options: of ``qemu-img create``
    """

    options: str = ""
    snapshots: int = 1
    bitmaps: int = 2

    def make(self, path: Path) -> None:
        """Make one with some of everything."""
        run = partial(subprocess.run, check=True, capture_output=True, cwd=path.parent)
        options = ("-o", self.options) if self.options else ()
        run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path.name, str(SIZE)])

        def io(*commands: str) -> None:
            words = [word for command in commands for word in ("-c", command)]
            run(["qemu-io", "-f", "qcow2", *words, path.name])

        io("write -P 1 0 200k", "write -z 800k 64k", "write -P 2 500k 3k")
        io("write -c -P 3 640k 64k")
        for number in range(self.snapshots):
            run(["qemu-img", "snapshot", "-c", SNAPSHOTS[number], path.name])
            io(f"write -P {10 + number} {64 * number}k 70k", "discard 100k 64k")
        for number in range(self.bitmaps):
            words = ["--add", "-g", "4096", *(["--disable"] if number else [])]
            run(["qemu-img", "bitmap", *words, path.name, f"b{number}"])
        if self.bitmaps:
            io("write -P 4 300k 20k")


KINDS: Final = (
    Kind(),
    Kind("cluster_size=4k"),
    Kind("cluster_size=4k", snapshots=2),
    Kind("compat=0.10,cluster_size=8k", bitmaps=0),
    Kind("extended_l2=on,cluster_size=16k"),
    Kind("cluster_size=512,refcount_bits=64"),
    Kind("cluster_size=1k,refcount_bits=1,lazy_refcounts=on", snapshots=0),
    Kind("cluster_size=2k,lazy_refcounts=on", bitmaps=0),
)


@dataclass
class Places:
    """Where the metadata of an image is."""

    cluster: int
    entries: dict[str, list[int]] = field(default_factory=dict)
    """File offsets of 64-bit entries that are used, by the kind of their table."""
    areas: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Offset and length of what is not made of entries."""


@lru_cache(maxsize=len(KINDS))
def find(data: bytes) -> Places:
    """Find the metadata of a whole image."""

    def u64(offset: int) -> int:
        return int(struct.unpack_from(">Q", data, offset)[0])

    bits, version = struct.unpack_from(">I", data, 20)[0], struct.unpack_from(">I", data, 4)[0]
    places = Places(1 << bits)
    l1, reftable = u64(40), u64(48)
    extended = version > 2 and u64(72) & 16
    mask = 0x00FF_FFFF_FFFF_FE00

    def used(start: int, length: int) -> list[int]:
        return [at for at in range(start, start + length, 8) if at + 8 <= len(data) and u64(at)]

    entries = places.entries
    entries["l1"] = used(l1, 8 * struct.unpack_from(">I", data, 36)[0])
    tables = [u64(at) & mask for at in entries["l1"]]
    entries["l2"] = [at for table in tables for at in used(table, places.cluster)]
    if not extended:
        entries["l2"] = entries["l2"][:200]
    entries["reftable"] = used(reftable, places.cluster)
    entries["refblock"] = [at for e in entries["reftable"] for at in used(u64(e), places.cluster)]
    areas = places.areas
    areas["header"] = (0, 112)
    areas["extensions"] = (112 if version > 2 else 72, 400)
    count, where = struct.unpack_from(">IQ", data, 60)
    if count:
        areas["snapshots"] = (where, 90 * count)
        snapshot_l1 = u64(where)
        entries["snapshot l1"] = used(snapshot_l1, 8 * struct.unpack_from(">I", data, where + 8)[0])
    directory = data.find(struct.pack(">I", BITMAPS_EXTENSION), 72, places.cluster)
    if directory > 0 and version > 2:
        areas["bitmaps extension"] = (directory, 32)
        where = u64(directory + 24)
        areas["directory"] = (where, 64)
        entries["bitmap table"] = [u64(where)]
    return places


class Damage:
    """Changes to the bytes of an image, chosen by a seed."""

    def __init__(self, chance: random.Random, data: bytes) -> None:
        self._chance = chance
        self.data = bytearray(data)
        self._places = find(data)
        self._l1_size = bytes(data[36:40])
        self.told: list[str] = []

    def apply(self) -> bytes:
        """Damage it in one place or some; returns the image."""
        for _ in range(self._chance.choice([1, 1, 1, 2, 3])):
            self._chance.choice([self._entry, self._entry, self._bytes, self._field])()
        if int.from_bytes(self.data[36:40], "big") > LONGEST_L1:
            # QEMU takes it, and all its garbage, which takes both programs too long here.
            self._put(36, self._l1_size, "l1 size")
        if self._chance.random() < 0.1:
            self._put(79, bytes([self.data[79] | 1]), "dirty")
        if self._chance.random() < 0.06:
            length = self._chance.randrange(512, len(self.data))
            self.told.append(f"cut at {length}")
            del self.data[length:]
        return bytes(self.data)

    def _put(self, offset: int, value: bytes, what: str) -> None:
        if offset + len(value) <= len(self.data):
            self.told.append(f"{what}: {value.hex()} at {offset}")
            self.data[offset : offset + len(value)] = value

    def _anywhere(self) -> int:
        """The offset of some cluster, perhaps one with metadata, perhaps outside."""
        cluster, chance = self._places.cluster, self._chance
        entries = [at for kind in self._places.entries.values() for at in kind]
        some = chance.choice(entries) if entries else 0
        return chance.choice(
            [
                *(some // cluster * cluster, chance.randrange(len(self.data)) // cluster * cluster),
                *(len(self.data) // cluster * cluster, 2 * len(self.data) // cluster * cluster),
                *(0, cluster, 1 << 40, (1 << 56) - cluster),
            ]
        )

    def _entry(self) -> None:
        kind = self._chance.choice([name for name, at in self._places.entries.items() if at])
        at = self._chance.choice(self._places.entries[kind])
        old = int(struct.unpack_from(">Q", self.data, at)[0])
        chance, flags = self._chance, old & 0xFF00_0000_0000_01FF
        new = chance.choice(
            [
                *(0, old ^ 1, old ^ 1 << 63, old ^ 1 << 62, old + 512, old ^ 1 << 61),
                *(self._anywhere() | flags, self._anywhere() | flags, self._anywhere()),
                *(old ^ 1 << chance.randrange(64), chance.getrandbits(64), (1 << 64) - 1),
            ]
        )
        self._put(at, struct.pack(">Q", new & (1 << 64) - 1), kind)

    def _bytes(self) -> None:
        kind = self._chance.choice(list(self._places.areas))
        start, length = self._places.areas[kind]
        at = start + self._chance.randrange(length)
        if at < len(self.data):
            self._put(at, bytes([self.data[at] ^ self._chance.randrange(1, 256)]), kind)

    def _field(self) -> None:
        """A field of the header that names a table, its size, or a feature."""
        name, offset, form = self._chance.choice(FIELDS)
        old = int(struct.unpack_from(form, self.data, offset)[0])
        most = (1 << 8 * struct.calcsize(form)) - 1
        value = self._chance.choice(
            [
                *(old + 1, old - 1, old * 2, 0, old ^ 1 << self._chance.randrange(32)),
                self._anywhere(),
            ]
        )
        self._put(offset, struct.pack(form, value & most), name)


FIELDS: Final = (
    ("size", 24, ">Q"),
    ("l1 size", 36, ">I"),
    ("l1 offset", 40, ">Q"),
    ("reftable offset", 48, ">Q"),
    ("reftable clusters", 56, ">I"),
    ("snapshot count", 60, ">I"),
    ("snapshots offset", 64, ">Q"),
    ("incompatible", 72, ">Q"),
    ("autoclear", 88, ">Q"),
)


def hmp(line: str) -> Request:
    """A command of the human monitor."""
    return {"execute": "human-monitor-command", "arguments": {"command-line": line}}


def requests(chance: random.Random, name: str) -> Iterator[Request]:
    """What is done with an image of that name, after which it is closed.

    At last it is opened again by the human monitor, which tells more of what is wrong.
    """
    node: dict[str, Any] = {"driver": "qcow2", "node-name": name, "discard": "unmap"}
    node["file"] = {"driver": "file", "filename": f"{name}.qcow2", "discard": "unmap"}
    if chance.random() < 0.15:
        node["read-only"] = True
    if chance.random() < 0.3:
        node["overlap-check"] = chance.choice(["none", "constant", "all"])
    if chance.random() < 0.1:
        node["lazy-refcounts"] = True
    yield {"execute": "blockdev-add", "arguments": node}
    yield {"execute": "query-named-block-nodes", "arguments": {"flat": True}}
    for _ in range(chance.randrange(3, 12)):
        yield chance.choice(WORK)(chance, name)
    yield hmp(f'qemu-io {name} "read -v 0 512"')
    yield {"execute": "query-named-block-nodes", "arguments": {"flat": True}}
    yield {"execute": "blockdev-del", "arguments": {"node-name": name}}
    yield hmp(f"drive_add 0 if=none,id=d,node-name={name},format=qcow2,file={name}.qcow2")
    yield from (hmp(line) for line in ("info snapshots", "info block -v d", "drive_del d"))


def _io(chance: random.Random, name: str) -> Request:
    offset = chance.randrange(SIZE // 512) * 512
    length = min(chance.choice([512, 4096, 65536, 150_000]) // 512 * 512, SIZE - offset)
    command = chance.choice(
        [
            *(f"write -P {chance.randrange(1, 256)}", f"write -P {chance.randrange(1, 256)}"),
            *("read -v", "discard", "discard", "write -z", "write -z -u"),
        ]
    )
    if command == "read -v":
        length = 512
    return hmp(f'qemu-io {name} "{command} {offset} {length}"')


def _other(chance: random.Random, name: str) -> Request:
    return hmp(f'qemu-io {name} "{chance.choice(["flush", "map", "alloc 0 1M", "length"])}"')


def _bitmap(chance: random.Random, name: str) -> Request:
    bitmap = {"node": name, "name": chance.choice(["b0", "b1", "b2"])}
    if chance.random() < 0.5:
        return {"execute": "block-dirty-bitmap-remove", "arguments": bitmap}
    more = {"persistent": True, "granularity": 4096}
    return {"execute": "block-dirty-bitmap-add", "arguments": {**bitmap, **more}}


def _resize(chance: random.Random, name: str) -> Request:
    size = chance.choice([SIZE // 2, SIZE - 512, SIZE + 512, 2 * SIZE])
    return {"execute": "block_resize", "arguments": {"node-name": name, "size": size}}


WORK: Final[tuple[Callable[[random.Random, str], Request], ...]] = (
    *((_io,) * 6),
    *(_other, _bitmap, _resize),
)


@cache
def whole(folder: Path, kind: int) -> bytes:
    """The bytes of a whole image."""
    path = folder / f"kind{kind}.qcow2"
    KINDS[kind].make(path)
    return path.read_bytes()
