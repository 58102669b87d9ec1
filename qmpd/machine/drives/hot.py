"""Drives that are added while the machine runs: HMP's drive_add (``hmp_drive_add``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.errors import GenericError, NotServed
from qmpd.machine.drives.node import open_drive_node
from qmpd.options import groups
from qmpd.options.qemu_opts import Opts, Warn, parse_opts

if TYPE_CHECKING:
    from collections.abc import Container

    from qmpd.machine.drives.options import Drives

_TYPES = ("none", "ide", "scsi", "floppy", "pflash", "mtd", "sd", "virtio", "xen")
"""Kinds of drives by their numbers in QEMU (``BlockInterfaceType``)."""


async def add_drive(drives: Drives, opts: Opts) -> None:
    """Add a drive that has no device yet.

    :param opts: see `drive_options`
    :raises GenericError: with QEMU's text
    """
    added = await drives.add(opts, "")
    interface = added.info.interface
    if interface != "none":
        await added.backend.close()
        raise GenericError(f"Can't hot-add drive to type {_TYPES.index(interface)}")


async def add_drive_node(drives: Drives, opts: Opts) -> None:
    """Add a node that blockdev-del may delete (``hmp_drive_add_node``).

    :param opts: see `drive_options`
    :raises GenericError: with QEMU's text
    """
    values = dict(opts)
    if "node-name" not in values:
        raise GenericError("'node-name' needs to be specified")
    node = await open_drive_node(drives.graph, None, values, None)
    node.monitor_owned = True


def drive_options(options: str, warn: Warn, ids: Container[str]) -> Opts:
    """Read the options of a drive.

    :param options: as ``-drive`` takes them
    :param ids: those of the drives that there are
    :raises GenericError: with QEMU's text
    """
    opts = parse_opts(groups.DRIVE, options, warn, implied=False, ids=ids)
    if opts.wants_help or opts.get("format") in ("help", "?"):
        raise NotServed("qmpd does not show the help of drives in the human monitor")
    # who goes through them in the loop does not come by the same one a million times
    opts.values = list(dict(opts.values).items())
    return opts
