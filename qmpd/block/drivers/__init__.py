"""The block drivers, each in a module of its own, imported when first used."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.driver import BlockDriver

DRIVERS: Final = MappingProxyType(
    {
        "blkdebug": "blkdebug:BlkDebug",
        "commit_top": "commit_top:CommitTop",
        "compress": "compress:Compress",
        "copy-before-write": "copy_before_write:CopyBeforeWrite",
        "copy-on-read": "copy_on_read:CopyOnRead",
        "file": "file:File",
        "mirror_top": "mirror_top:MirrorTop",
        "nbd": "nbd:Nbd",
        "null-aio": "null:NullAio",
        "null-co": "null:NullCo",
        "preallocate": "preallocate:Preallocate",
        "qcow2": "qcow2:Qcow2",
        "quorum": "quorum:Quorum",
        "raw": "raw:Raw",
        "snapshot-access": "snapshot_access:SnapshotAccess",
        "throttle": "throttle:Throttle",
    }
)
"""Module and class of every driver that is here."""


def find_image_driver(name: str) -> type[BlockDriver]:
    """The driver called `name`, for jobs that make or change images.

    :raises GenericError: it is not built in, in QEMU's words
    """
    if name not in DRIVERS:
        raise GenericError(f"Block driver '{name}' not found or not supported")
    return find_driver(name)


def find_driver(name: str) -> type[BlockDriver]:
    """The driver called `name`.

    :raises GenericError: it is not built in, in QEMU's words
    """
    place = DRIVERS.get(name)
    if place is None:
        raise GenericError(f"Unknown driver '{name}'")
    module, _, cls = place.partition(":")
    driver: type[BlockDriver] = getattr(import_module(f"{__name__}.{module}"), cls)
    return driver
