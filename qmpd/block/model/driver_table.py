"""The block drivers, each in a module of its own, imported when first used."""

from __future__ import annotations

import sys
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from qmpd.block.model.families import ImageCreator
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.driver import BlockDriver

DRIVERS: Final = MappingProxyType(
    {
        "blkdebug": "filters.blkdebug:BlkDebug",
        "blkverify": "filters.blkverify:BlkVerify",
        "compress": "filters.compress:Compress",
        "copy-before-write": "filters.copy_before_write:CopyBeforeWrite",
        "copy-on-read": "filters.copy_on_read:CopyOnRead",
        "file": "protocols.file:File",
        "nbd": "protocols.nbd.driver:Nbd",
        "null-aio": "protocols.null:NullAio",
        "null-co": "protocols.null:NullCo",
        "preallocate": "filters.preallocate:Preallocate",
        "qcow2": "formats.qcow2:Qcow2",
        "quorum": "filters.quorum:Quorum",
        "raw": "formats.raw:Raw",
        "snapshot-access": "filters.snapshot_access:SnapshotAccess",
        "throttle": "filters.throttle:Throttle",
    }
)
"""Module and class of every driver that is here."""

JOB_FILTERS: Final = MappingProxyType(
    {
        "backup-top": "filters.backup_top:BackupTop",
        "commit_top": "filters.commit_top:CommitTop",
        "mirror_top": "filters.mirror_top:MirrorTop",
    }
)
"""The same of filters that only jobs use: nobody else finds them by these names."""


def find_image_driver(name: str) -> type[BlockDriver]:
    """The driver called `name`, for jobs that make or change images.

    :raises GenericError: it is not built in, in QEMU's words
    """
    if name not in DRIVERS:
        raise GenericError(f"Block driver '{name}' not found or not supported")
    return find_driver(name)


def find_creator(name: str) -> type[ImageCreator]:
    """The driver called `name`, which makes images (blockdev-create).

    :raises GenericError: it is not built in, or makes none
    """
    driver = find_image_driver(name)
    if not issubclass(driver, ImageCreator):
        raise GenericError("Driver does not support blockdev-create")
    return driver


def find_driver(name: str) -> type[BlockDriver]:
    """The driver called `name`.

    :raises GenericError: it is not built in, in QEMU's words
    """
    place = DRIVERS.get(name)
    if place is None:
        raise GenericError(f"Unknown driver '{name}'")
    return _driver(place)


def find_job_filter(name: str) -> type[BlockDriver]:
    """The filter called `name`, which a job puts above a node."""
    return _driver(JOB_FILTERS[name])


def _driver(place: str) -> type[BlockDriver]:
    module, _, cls = place.partition(":")
    name = f"qmpd.block.drivers.{module}"
    # import_module, even of what is loaded, is a tenth of the time to open a small node
    module_object = sys.modules.get(name) or import_module(name)
    # the interpreter keeps names that it has looked for, thousands of them: it is to be one object
    driver: type[BlockDriver] = getattr(module_object, sys.intern(cls))
    return driver
