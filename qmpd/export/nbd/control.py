"""Starting the NBD server, and adding exports to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qmpd.errors import GenericError, NotServed
from qmpd.export.nbd.export import NbdExport, check_names, find_bitmaps

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.export.exports import BlockExports
    from qmpd.export.host import ExportHost, NbdServer


async def start_server(host: ExportHost, options: Mapping[str, Any]) -> None:
    """Start the NBD server.

    :param options: NbdServerOptions, plain JSON values
    :raises QmpError: QEMU's texts
    """
    if host.nbd_server is not None:
        raise GenericError("NBD server already running")
    for name in ("tls-creds", "tls-authz"):
        if name in options:
            raise NotServed(f"Option '{name}' of the NBD server is not served by qmpd")
    if host.listen_nbd is None:
        raise NotServed("The NBD server is served by the programs of qmpd alone")
    host.nbd_server = host.listen_nbd(
        options["addr"],
        options.get("max-connections", 100),
        options.get("handshake-max-seconds", 10),
    )


async def stop_server(host: ExportHost) -> None:
    """Take all NBD exports away, and stop the server.

    :raises GenericError: it does not run
    """
    server = running_server(host)
    await host.exports.close_all(NbdExport.export_type)
    await server.close()
    host.nbd_server = None


def running_server(host: ExportHost) -> NbdServer:
    """The NBD server.

    :raises GenericError: it does not run
    """
    if host.nbd_server is None:
        raise GenericError("NBD server not running")
    return host.nbd_server


def nbd_exports(exports: BlockExports) -> list[NbdExport]:
    """The exports of the NBD server, the oldest first."""
    return [
        export
        for export in exports.exports.values()
        if isinstance(export, NbdExport) and not export.shutting_down
    ]


def create_nbd(host: ExportHost, backend: BlockBackend, options: Mapping[str, Any]) -> NbdExport:
    """An export by the NBD server.

    :param backend: what it is read and written by
    :param options: BlockExportOptions of type nbd, plain JSON values
    :raises GenericError: QEMU's texts
    """
    server = running_server(host)
    name = options.get("name", options["node-name"])
    check_names(name, options.get("description"))
    if any(export.name == name for export in nbd_exports(host.exports)):
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
        multi_conn=server.max_connections != 1,
    )
