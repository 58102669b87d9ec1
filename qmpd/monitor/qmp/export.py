"""Commands of schema module block-export: the NBD server, and exports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.export.add import add_export, add_nbd_export
from qmpd.export.nbd.export import NbdExport
from qmpd.machine.socket_names import flat_address
from qmpd.monitor.qmp.handlers import Context, Handlers
from qmpd.monitor.qmp.sockets import with_descriptor

if TYPE_CHECKING:
    from qmpd.profile.models.block_export import (
        BlockExportDelArguments,
        NbdServerAddOptions,
        NbdServerRemoveArguments,
    )


def nbd_server_start(context: Context, _: Any) -> None:
    """Start the NBD server."""
    context.machine.nbd.start(_with_flat_address(context, context.raw))


def _with_flat_address(context: Context, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with the address as SocketAddress has it, without `data`.

    :raises GenericError: no client has handed over the descriptor that it names
    """
    address = flat_address(raw["addr"])
    if not context.machine.nbd.running:
        address = with_descriptor(context, address)
    return {**raw, "addr": address}


async def nbd_server_stop(context: Context, _: None) -> None:
    """Take all NBD exports away, and stop the server."""
    await context.machine.nbd.stop()


async def block_export_add(context: Context, _: Any) -> None:
    """Export a node."""
    await add_export(context.machine, context.raw)


async def block_export_del(context: Context, arguments: BlockExportDelArguments) -> None:
    """Take an export away."""
    await context.machine.exports.delete(arguments.id, hard=arguments.mode == "hard")


async def nbd_server_add(context: Context, arguments: NbdServerAddOptions) -> None:
    """Export a device or node by NBD, in the words of before block-export-add."""
    more: dict[str, Any] = {}
    if arguments.bitmap is not None:
        more["bitmaps"] = [arguments.bitmap]
    if arguments.description is not None:
        more["description"] = arguments.description
    await add_nbd_export(
        context.machine,
        arguments.device,
        name=arguments.name,
        writable=bool(arguments.writable),
        more=more,
    )


async def nbd_server_remove(context: Context, arguments: NbdServerRemoveArguments) -> None:
    """Take an NBD export away, by its id."""
    exports = context.machine.exports
    export = exports.get(arguments.name)
    if export is not None and not isinstance(export, NbdExport):
        raise GenericError(f"Block export '{arguments.name}' is not an NBD export")
    await exports.delete(arguments.name, hard=arguments.mode == "hard")


def query_block_exports(context: Context, _: None) -> list[dict[str, Any]]:
    """All exports, the newest first."""
    return context.machine.exports.query()


HANDLERS: Final[Handlers] = {
    "nbd-server-start": nbd_server_start,
    "nbd-server-stop": nbd_server_stop,
    "block-export-add": block_export_add,
    "block-export-del": block_export_del,
    "nbd-server-add": nbd_server_add,
    "nbd-server-remove": nbd_server_remove,
    "query-block-exports": query_block_exports,
}
