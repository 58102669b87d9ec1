"""Exports of type nbd: a node that clients of the machine's NBD server can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qmpd.errors import GenericError
from qmpd.export.nbd.control import nbd_exports
from qmpd.export.nbd.export import NbdExport, check_names, find_bitmaps

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.export.machine import ExportingMachine


def create_nbd(
    machine: ExportingMachine, backend: BlockBackend, options: Mapping[str, Any]
) -> NbdExport:
    """An export by the NBD server.

    :param backend: what it is read and written by
    :param options: BlockExportOptions of type nbd, plain JSON values
    :raises GenericError: QEMU's texts
    """
    server = machine.nbd.server
    name = options.get("name", options["node-name"])
    check_names(name, options.get("description"))
    if any(export.name == name for export in nbd_exports(machine.exports)):
        raise GenericError(f"NBD server already has export named '{name}'")
    node = backend.node
    assert node is not None
    writable = options.get("writable", False)
    bitmaps: Sequence[str | Mapping[str, Any]] = options.get("bitmaps", ())
    return NbdExport(
        options["id"],
        backend,
        name,
        description=options.get("description"),
        bitmaps=find_bitmaps(node, bitmaps, writable=writable),
        allocation_depth=options.get("allocation-depth", False),
        writable=writable,
        multi_conn=server.max_connections != 1 if server.dialect.shares_writable else not writable,
    )
