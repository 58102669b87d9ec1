"""An internal snapshot, as the snapshot table describes it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

EXTRA = struct.Struct(">QQQ")
"""Extra data of a table entry that is known: VM state size, disk size, instruction count."""
NO_ICOUNT = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One internal snapshot.

    :param l1_size: entries of its L1 table
    :param disk_size: virtual size when it was taken, bytes
    :param vm_state_size: bytes of VM state
    :param icount: instruction count, `NO_ICOUNT` when unknown
    :param extra_data_size: bytes of extra data in the table, known and unknown
    :param disk_only: known to have been taken of this disk only; not in the table
    """

    l1_table_offset: int
    l1_size: int
    id: bytes
    name: bytes
    date_sec: int
    date_nsec: int
    vm_clock_nsec: int
    vm_state_size: int
    disk_size: int
    icount: int = NO_ICOUNT
    extra_data_size: int = EXTRA.size
    unknown_extra: bytes = b""
    disk_only: bool = False
