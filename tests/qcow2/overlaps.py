"""Images in which something refers to a cluster with metadata, and what is done with one.

Each kind of reference is aimed at each kind of metadata; what `overlap-check` looks for, the
image and the requests are chosen by a seed.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any, Final

from tests.qcow2.damaged import BITMAPS_EXTENSION, KINDS, SIZE, Request, hmp

IMAGES: Final = tuple(
    number for number, kind in enumerate(KINDS) if kind.snapshots and kind.bitmaps
)
"""The kinds of images that have some of everything."""

CHECKS: Final = {
    "header": "main-header",
    "l1": "active-l1",
    "l2": "active-l2",
    "refcount table": "refcount-table",
    "refcount block": "refcount-block",
    "snapshot table": "snapshot-table",
    "snapshot l1": "inactive-l1",
    "snapshot l2": "inactive-l2",
    "directory": "bitmap-directory",
}
"""The flag of `overlap-check` that protects each kind of metadata."""

OFFSET: Final = 0x00FF_FFFF_FFFF_FE00
COPIED: Final = 1 << 63
FREE: Final = "free"
"""In place of a reference: the refcount of the cluster is 0."""


class Map:
    """Where each kind of thing is in a whole image, and where the file refers to it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        bits = struct.unpack_from(">I", data, 20)[0]
        self.cluster = 1 << bits
        self.refers = {"l1": 40, "refcount table": 48, "snapshot table": 64}
        """Offsets of 64-bit entries."""
        self.refers["l2"] = self._used(self._at("l1"))
        self.refers["data"] = self._used(self._at("l2"), copied=True)
        self.refers["refcount block"] = self._at("refcount table")
        self.refers["snapshot l1"] = self._at("snapshot table")
        self.refers["snapshot l2"] = self._used(self._at("snapshot l1"))
        extension = data.index(struct.pack(">I", BITMAPS_EXTENSION), 72, self.cluster)
        self.refers["directory"] = extension + 24
        self.refers["bitmap table"] = self._at("directory")
        self.refers["bitmap data"] = self._used(self._at("bitmap table"))
        self.targets = {name: self._at(name) for name in self.refers} | {"header": 0}
        """Offsets of clusters."""

    def entry(self, offset: int) -> int:
        """A 64-bit entry of the file."""
        return int(struct.unpack_from(">Q", self._data, offset)[0])

    def _at(self, name: str) -> int:
        return self.entry(self.refers[name]) & OFFSET

    def _used(self, table: int, *, copied: bool = False) -> int:
        """The first entry of a table that refers to something."""
        while not self.entry(table) & OFFSET or (copied and not self.entry(table) & COPIED):
            table += 8
        return table

    def refcount_at(self, offset: int) -> tuple[int, int]:
        """Where the refcount of a cluster is, and its bytes."""
        order = struct.unpack_from(">I", self._data, 96)[0]
        size = (1 << order) // 8
        return self._at("refcount block") + offset // self.cluster * size, size


REFERENCES: Final = (
    *("data", "l2", "l1", "refcount block", "refcount table", "snapshot table", "snapshot l1"),
    *("snapshot l2", "directory", "bitmap table", "bitmap data", FREE),
)
TARGETS: Final = (*CHECKS, "bitmap table", "data")
PAIRS: Final = tuple((reference, target) for reference in REFERENCES for target in TARGETS)


def aim(data: bytes, reference: str, target: str) -> bytes:
    """An image in which a reference is to something else."""
    found, changed = Map(data), bytearray(data)
    where = found.targets[target]
    if reference == FREE:
        at, size = found.refcount_at(where)
        changed[at : at + size] = bytes(size)
        return bytes(changed)
    at = found.refers[reference]
    flags = found.entry(at) & ~OFFSET
    struct.pack_into(">Q", changed, at, where | flags)
    return bytes(changed)


def checks(chance: random.Random, target: str) -> Any:
    """A value of `overlap-check`."""
    kind = CHECKS.get(target, chance.choice(list(CHECKS.values())))
    return chance.choice(
        [
            *("none", "constant", "cached", "all", "all"),
            {"template": "none", kind: True},
            {"template": "all", kind: False},
        ]
    )


def requests(chance: random.Random, name: str, target: str, cluster: int) -> list[Request]:
    """What is done with an image of that name, after which it is closed."""
    node: dict[str, Any] = {"driver": "qcow2", "node-name": name, "discard": "unmap"}
    node["file"] = {"driver": "file", "filename": f"{name}.qcow2", "discard": "unmap"}
    node["overlap-check"] = checks(chance, target)
    works = chance.sample(WORKS, len(WORKS))
    return [
        {"execute": "blockdev-add", "arguments": node},
        *(request for work in works for request in work(name, cluster)),
        {"execute": "query-named-block-nodes", "arguments": {"flat": True}},
        {"execute": "blockdev-del", "arguments": {"node-name": name}},
    ]


def _writes(name: str, _cluster: int) -> list[Request]:
    return [hmp(f'qemu-io {name} "{line}"') for line in ("write -P 5 0 192k", "flush")]


def _new(name: str, cluster: int) -> list[Request]:
    # Of several compressed clusters, QEMU takes whichever is ready first.
    lines = ("write -P 6 864k 8k", f"write -c -P 7 960k {cluster}", "read -P 6 864k 512")
    return [hmp(f'qemu-io {name} "{line}"') for line in lines]


def _away(name: str, _cluster: int) -> list[Request]:
    lines = ("discard 64k 64k", "write -z 0 64k", "write -z -u 128k 64k")
    return [hmp(f'qemu-io {name} "{line}"') for line in lines]


def _bitmaps(name: str, _cluster: int) -> list[Request]:
    bitmap = {"node": name, "name": "b2"}
    add = {**bitmap, "persistent": True, "granularity": 4096}
    return [
        {"execute": "block-dirty-bitmap-add", "arguments": add},
        {"execute": "block-dirty-bitmap-remove", "arguments": {"node": name, "name": "b1"}},
    ]


def _sizes(name: str, _cluster: int) -> list[Request]:
    return [
        {"execute": "block_resize", "arguments": {"node-name": name, "size": size}}
        for size in (2 * SIZE, SIZE)
    ]


def _snapshots(name: str, _cluster: int) -> list[Request]:
    snapshot = {"device": name, "name": "new"}
    return [
        {"execute": "blockdev-snapshot-internal-sync", "arguments": snapshot},
        {"execute": "blockdev-snapshot-delete-internal-sync", "arguments": snapshot},
    ]


WORKS: Final[tuple[Callable[[str, int], list[Request]], ...]] = (
    *(_writes, _new, _away, _bitmaps, _sizes, _snapshots),
)
