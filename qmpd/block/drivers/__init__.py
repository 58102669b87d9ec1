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
        "file": "file:File",
        "null-aio": "null:NullAio",
        "null-co": "null:NullCo",
        "qcow2": "qcow2:Qcow2",
        "raw": "raw:Raw",
    }
)
"""Module and class of every driver that is here."""

NOT_SERVED: Final = frozenset(
    """
    blkdebug blklogwrites blkreplay blkverify bochs cloop compress copy-before-write copy-on-read
    dmg host_cdrom host_device io_uring luks nbd nvme nvme-io_uring parallels preallocate qcow qed
    quorum replication snapshot-access throttle vdi vhdx virtio-blk-vfio-pci virtio-blk-vhost-user
    virtio-blk-vhost-vdpa vmdk vpc vvfat
    """.split()
)
"""Drivers that QEMU has built in and qmpd has not."""


def check_unserved(options: Mapping[str, Any]) -> None:
    """Refuse what QEMU's driver would, where it looks before it opens anything.

    :raises GenericError: with its text
    """
    if options["driver"] == "quorum" and not options["children"]:
        raise GenericError("Number of provided children must be 1 or more")


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
