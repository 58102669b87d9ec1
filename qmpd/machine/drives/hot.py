"""Drives that are added while the machine runs (HMP's drive_add)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.errors import GenericError, NotServed
from qmpd.machine.drives.node import open_drive_node
from qmpd.options import groups as groups
from qmpd.options.command_line import CommandLineError
from qmpd.options.qemu_opts import Opts, parse_opts

if TYPE_CHECKING:
    from qmpd.machine.drives.options import Drives

_TYPES = ("none", "ide", "scsi", "floppy", "pflash", "mtd", "sd", "virtio", "xen")
"""Kinds of drives by the numbers that QEMU gives them."""


class HotDrives:
    """Adds drives to those of the command line.

    :param drives: what that has made
    """

    def __init__(self, drives: Drives) -> None:
        self._drives = drives

    async def add(self, options: str) -> None:
        """Add a drive that has no device yet.

        :raises GenericError: with QEMU's text
        """
        drives = self._drives
        try:
            opts = self._read(options)
            if opts.id is not None and drives.is_taken(opts.id):
                raise CommandLineError(f"Duplicate ID '{opts.id}' for drive")
            added = await drives.make(opts, "")
        except CommandLineError as error:
            raise _plain(error) from None
        backend = drives.server.machine.graph.backends[added.name]
        interface = drives.find_backend(backend).interface
        if interface != "none":
            await backend.close()
            raise GenericError(f"Can't hot-add drive to type {_TYPES.index(interface)}")

    async def add_node(self, options: str) -> None:
        """Add a node that blockdev-del may delete.

        :raises GenericError: with QEMU's text
        """
        graph = self._drives.server.machine.graph
        try:
            values = dict(self._read(options))
            if "node-name" not in values:
                raise CommandLineError("'node-name' needs to be specified")
            node = await open_drive_node(graph, None, values, None)
        except CommandLineError as error:
            raise _plain(error) from None
        node.monitor_owned = True

    def _read(self, options: str) -> Opts:
        def warn(text: str, hint: str) -> None:
            self._drives.server.machine.stderr(f"warning: {text}\n{hint}")

        opts = parse_opts(groups.DRIVE, options, warn, implied=False)
        if opts.wants_help or opts.get("format") in ("help", "?"):
            raise NotServed("qmpd does not show the help of drives in the human monitor")
        return opts


def _plain(error: CommandLineError) -> GenericError:
    """The error of an option as one of a command."""
    found = GenericError(error.text)
    found.hint = error.hint
    return found
