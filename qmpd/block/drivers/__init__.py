"""The block drivers, each in a module of its own, imported when first used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError, NotServed

if TYPE_CHECKING:
    from qmpd.block.driver import BlockDriver

DRIVERS: Final = MappingProxyType(
    {
        "blkdebug": "blkdebug:BlkDebug",
        "compress": "compress:Compress",
        "copy-before-write": "copy_before_write:CopyBeforeWrite",
        "copy-on-read": "copy_on_read:CopyOnRead",
        "file": "file:File",
        "mirror_top": "mirror_top:MirrorTop",
        "null-aio": "null:NullAio",
        "null-co": "null:NullCo",
        "qcow2": "qcow2:Qcow2",
        "quorum": "quorum:Quorum",
        "raw": "raw:Raw",
        "snapshot-access": "snapshot_access:SnapshotAccess",
        "throttle": "throttle:Throttle",
    }
)
"""Module and class of every driver that is here."""

NOT_SERVED: Final = frozenset(
    """
    blklogwrites blkreplay blkverify bochs cloop
    dmg host_cdrom host_device io_uring luks nbd nvme nvme-io_uring parallels preallocate qcow qed
    replication vdi vhdx virtio-blk-vfio-pci virtio-blk-vhost-user
    virtio-blk-vhost-vdpa vmdk vpc vvfat
    """.split()
)
"""Drivers that QEMU has built in and qmpd has not."""


def find_driver(name: str) -> type[BlockDriver]:
    """The driver called `name`.

    :raises NotServed: QEMU has it, qmpd has not
    :raises GenericError: it is not built in, in QEMU's words
    """
    place = DRIVERS.get(name)
    if place is None:
        if name in NOT_SERVED:
            raise NotServed(f"Block driver '{name}' is not served by qmpd yet")
        raise GenericError(f"Unknown driver '{name}'")
    module, _, cls = place.partition(":")
    driver: type[BlockDriver] = getattr(import_module(f"{__name__}.{module}"), cls)
    return driver
