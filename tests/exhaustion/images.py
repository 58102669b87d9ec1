"""Images in qcow2 whose tables are as long as they may be, as files of the host."""

from __future__ import annotations

import struct
from array import array
from pathlib import Path
from typing import Final

CLUSTER: Final = 1 << 16
_HEADER: Final = struct.Struct(">4sIQIIQIIQQIIQQQQII")
_SNAPSHOT: Final = struct.Struct(">QIHHIIQII24s8s")
_DIRTY: Final = 1
_COPIED: Final = 1 << 63
_TABLE, _BLOCK, _L1 = (CLUSTER * index for index in (1, 2, 3))
"""Where the refcount table, its only block and the L1 table are."""


def _write(
    path: Path,
    *parts: tuple[int, bytes],
    size: int = 1 << 30,
    l1: tuple[int, int] = (_L1, 2),
    snapshots: tuple[int, int] = (0, 0),
    incompatible: int = 0,
    length: int = 0,
) -> None:
    """Write an image.

    :param parts: offsets in the file, and what is there
    :param size: of the disk, bytes
    :param l1: where the L1 table is, and its entries
    :param snapshots: how many there are, and where their table is
    :param length: of the file, bytes, at least
    """
    header = _HEADER.pack(
        *(b"QFI\xfb", 3, 0, 0, 16, size, 0, l1[1], l1[0], _TABLE, 1, *snapshots),
        *(incompatible, 0, 0, 4, 104),
    )
    with path.open("wb") as file:
        for offset, data in ((0, header), (_TABLE, struct.pack(">Q", _BLOCK)), *parts):
            file.seek(offset)
            file.write(data)
        end = max(file.seek(0, 2), length, 4 * CLUSTER)
        file.truncate(-(-end // CLUSTER) * CLUSTER)


def with_snapshots(path: Path, count: int) -> None:
    """An image with so many internal snapshots; none has anything in it."""
    entry = _SNAPSHOT.pack(0, 0, 1, 1, 0, 0, 0, 0, 24, b"", b"1a")
    where = 4 * CLUSTER
    _write(path, (where, entry * count), snapshots=(count, where))


def with_long_l1(path: Path, entries: int) -> None:
    """An image whose L1 table has so many entries, which all refer to one L2 table."""
    table = struct.pack(">Q", 4 * CLUSTER) * entries
    _write(path, (5 * CLUSTER, table), l1=(5 * CLUSTER, entries))


def not_closed(path: Path, clusters: int) -> None:
    """An image with so many clusters of data, which was not closed, and counts none of them.

    :param clusters: at most 32000, for there is one refcount block
    """
    each = CLUSTER // 8
    tables = -(-clusters // each)
    first = 4 + tables
    entries = array("Q", (_COPIED | CLUSTER * (first + index) for index in range(clusters)))
    l1 = array("Q", (_COPIED | CLUSTER * (4 + index) for index in range(tables)))
    for table in (entries, l1):
        table.byteswap()
    _write(
        path,
        (_L1, l1.tobytes()),
        (4 * CLUSTER, entries.tobytes()),
        size=CLUSTER * clusters,
        l1=(_L1, tables),
        incompatible=_DIRTY,
        length=CLUSTER * (first + clusters),
    )
