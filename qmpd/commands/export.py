"""Commands of schema module block-export: the NBD server, and exports."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qmpd.commands.registry import CommandTable, Context
from qmpd.errors import GenericError, NotServed
from qmpd.export.nbd_export import NbdExport, check_names, find_bitmaps

if TYPE_CHECKING:
    from qmpd.machine import Machine
    from qmpd.models.block_export import (
        BlockExportDelArguments,
        NbdServerAddOptions,
        NbdServerRemoveArguments,
    )

EXPORT = CommandTable()


async def start_server(machine: Machine, options: Mapping[str, Any]) -> None:
    """Start the NBD server.

    :param options: NbdServerOptions, plain JSON values
    :raises QmpError: QEMU's texts
    """
    if machine.nbd_server is not None:
        raise GenericError("NBD server already running")
    for name in ("tls-creds", "tls-authz"):
        if name in options:
            raise NotServed(f"Option '{name}' of the NBD server is not served by qmpd")
    if machine.listen_nbd is None:
        raise NotServed("The NBD server is served by the programs of qmpd alone")
    machine.nbd_server = machine.listen_nbd(
        options["addr"],
        options.get("max-connections", 100),
        options.get("handshake-max-seconds", 10),
    )


@EXPORT.command("nbd-server-start")
async def nbd_server_start(context: Context, _: Any) -> None:
    """Start the NBD server."""
    await start_server(context.machine, _flat_address(context.raw))


def _flat_address(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with the address as SocketAddress has it, without `data`."""
    address = raw["addr"]
    return {**raw, "addr": {"type": address["type"], **address["data"]}}


@EXPORT.command("nbd-server-stop")
async def nbd_server_stop(context: Context, _: None) -> None:
    """Take all NBD exports away, and stop the server."""
    server = _server(context.machine)
    await context.machine.exports.close_all(NbdExport.export_type)
    await server.close()
    context.machine.nbd_server = None


def _server(machine: Machine) -> Any:
    if machine.nbd_server is None:
        raise GenericError("NBD server not running")
    return machine.nbd_server


async def add_export(machine: Machine, options: Mapping[str, Any]) -> None:
    """Export a node.

    :param options: BlockExportOptions, plain JSON values
    :raises QmpError: QEMU's texts
    """
    if options["type"] == "nbd":
        _add_nbd(machine, options)
        return
    exports = machine.exports
    exports.check_id(options["id"])
    machine.graph.lookup_device_or_node(None, options["node-name"])
    if options["type"] == "fuse":
        try:
            os.stat(options["mountpoint"])
        except OSError as error:
            raise GenericError(
                f"Failed to stat '{options['mountpoint']}': {os.strerror(error.errno or 0)}"
            ) from None
    raise NotServed(f"Exports of type '{options['type']}' are not served by qmpd")


def _add_nbd(machine: Machine, options: Mapping[str, Any]) -> None:
    exports = machine.exports
    exports.check_id(options["id"])
    node = machine.graph.lookup_device_or_node(None, options["node-name"])
    if "iothread" in options and options["iothread"] not in machine.objects.objects:
        raise GenericError(f'iothread "{options["iothread"]}" not found')
    writable = options.get("writable", False)
    backend = exports.open_backend(
        options["id"], node, writable=writable, writethrough=options.get("writethrough", False)
    )
    try:
        server = _server(machine)
        name = options.get("name", options["node-name"])
        check_names(name, options.get("description"))
        if any(export.name == name for export in nbd_exports(machine)):
            raise GenericError(f"NBD server already has export named '{name}'")
        bitmaps: Sequence[str | Mapping[str, Any]] = options.get("bitmaps", ())
        export = NbdExport(
            options["id"],
            backend,
            name,
            description=options.get("description"),
            bitmaps=find_bitmaps(node, bitmaps, writable=writable),
            allocation_depth=options.get("allocation-depth", False),
            writable=writable,
            multi_conn=server.max_connections != 1,
        )
    except BaseException:
        backend.remove_node()
        raise
    exports.add(export)


def nbd_exports(machine: Machine) -> list[NbdExport]:
    """The exports of the NBD server, the oldest first."""
    return [
        export
        for export in machine.exports.exports.values()
        if isinstance(export, NbdExport) and not export.shutting_down
    ]


@EXPORT.command("block-export-add")
async def block_export_add(context: Context, _: Any) -> None:
    """Export a node."""
    await add_export(context.machine, context.raw)


@EXPORT.command("block-export-del")
async def block_export_del(context: Context, arguments: BlockExportDelArguments) -> None:
    """Take an export away."""
    await context.machine.exports.delete(arguments.id, hard=arguments.mode == "hard")


@EXPORT.command("nbd-server-add")
async def nbd_server_add(context: Context, arguments: NbdServerAddOptions) -> None:
    """Export a device or node by NBD, in the words of before block-export-add."""
    machine = context.machine
    _server(machine)
    node = machine.graph.lookup_device_or_node(arguments.device, arguments.device)
    name = arguments.device if arguments.name is None else arguments.name
    options: dict[str, Any] = {
        "type": "nbd",
        "id": name,
        "node-name": node.node_name,
        "name": name,
        "writable": bool(arguments.writable) and not node.read_only,
    }
    if arguments.bitmap is not None:
        options["bitmaps"] = [arguments.bitmap]
    if arguments.description is not None:
        options["description"] = arguments.description
    await add_export(machine, options)


@EXPORT.command("nbd-server-remove")
async def nbd_server_remove(context: Context, arguments: NbdServerRemoveArguments) -> None:
    """Take an NBD export away, by its id."""
    exports = context.machine.exports
    export = exports.exports.get(arguments.name)
    if export is not None and not isinstance(export, NbdExport):
        raise GenericError(f"Block export '{arguments.name}' is not an NBD export")
    await exports.delete(arguments.name, hard=arguments.mode == "hard")


@EXPORT.command("query-block-exports")
def query_block_exports(context: Context, _: None) -> list[dict[str, Any]]:
    """All exports, the newest first."""
    return context.machine.exports.query()
