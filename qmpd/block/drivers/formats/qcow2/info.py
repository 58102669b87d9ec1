"""The image in the replies of queries: ImageInfoSpecific and SnapshotInfo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.base.sizes import as_int64
from qmpd.block.drivers.formats.qcow2.bitmaps.bitmaps import bitmap_infos
from qmpd.block.drivers.formats.qcow2.header.layout import (
    COMPAT_LAZY_REFCOUNTS,
    COMPRESSION_TYPES,
    INCOMPAT_CORRUPT,
)
from qmpd.block.drivers.formats.qcow2.tables.snapshot import NO_ICOUNT, Snapshot

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State


def text(raw: bytes) -> str:
    """A byte string of the image as text; undecodable bytes are kept as surrogates."""
    return raw.decode("utf-8", "surrogateescape")


async def specific_info(s: Qcow2State) -> dict[str, object]:
    """The ImageInfoSpecific of the image.

    :raises QmpError: the bitmap directory cannot be read
    """
    header = s.header
    bits = s.geometry.refcount_bits
    compression = COMPRESSION_TYPES[header.compression_type]
    data: dict[str, object]
    if header.version == 2:
        data = {"compat": "0.10", "compression-type": compression, "refcount-bits": bits}
    else:
        data = {
            "compat": "1.1",
            "compression-type": compression,
            "lazy-refcounts": bool(header.compatible & COMPAT_LAZY_REFCOUNTS),
            "refcount-bits": bits,
            "corrupt": bool(header.incompatible & INCOMPAT_CORRUPT),
            "extended-l2": s.geometry.extended_l2,
        }
        bitmaps = await bitmap_infos(s)
        if bitmaps:
            data["bitmaps"] = bitmaps
        if header.data_file is not None:
            data["data-file"] = text(header.data_file)
        if s.has_data_file:
            data["data-file-raw"] = s.data_file_raw
    return {"type": "qcow2", "data": data}


def snapshot_info(snapshot: Snapshot) -> dict[str, object]:
    """The SnapshotInfo of an internal snapshot."""
    info: dict[str, object] = {
        "id": text(snapshot.id),
        "name": text(snapshot.name),
        "vm-state-size": as_int64(snapshot.vm_state_size),
        "date-sec": snapshot.date_sec,
        "date-nsec": snapshot.date_nsec,
        "vm-clock-sec": snapshot.vm_clock_nsec // 1_000_000_000,
        "vm-clock-nsec": snapshot.vm_clock_nsec % 1_000_000_000,
    }
    if snapshot.icount != NO_ICOUNT:
        info["icount"] = as_int64(snapshot.icount)
    return info
