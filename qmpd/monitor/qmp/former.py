"""Commands that later versions of QEMU no longer have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from qmpd.block.change.reopen import blockdev_reopen
from qmpd.errors import GenericError
from qmpd.monitor.qmp.block import blockdev_change_medium
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.block import BlockdevChangeMediumArguments
    from qmpd.profile.models.migration import (
        MigrateSetCacheSizeArguments,
        MigrateSetDowntimeArguments,
        MigrateSetSpeedArguments,
    )
    from qmpd.profile.models.misc import ChangeArguments


async def x_blockdev_reopen(context: Context, _: object) -> None:
    """Change the options of a node that is open; later blockdev-reopen takes several."""
    graph, name = context.machine.graph, context.raw.get("node-name")
    if name is None:
        raise GenericError("Node name not specified")
    if graph.find_node(name) is None:
        raise GenericError(f"Cannot find node named '{name}'")
    await blockdev_reopen(graph, [context.raw])


async def change(context: Context, arguments: ChangeArguments) -> None:
    """Change a medium, or what VNC goes by; there is no VNC."""
    if arguments.device != "vnc":
        medium = SimpleNamespace(
            device=arguments.device,
            id=None,
            filename=arguments.target,
            format=arguments.arg,
            force=None,
            read_only_mode=None,
        )
        await blockdev_change_medium(context, cast("BlockdevChangeMediumArguments", medium))
    elif arguments.target not in ("passwd", "password"):
        raise GenericError("VNC display not active")
    elif arguments.arg is None:
        raise GenericError("Parameter 'password' is missing")
    else:
        raise GenericError("Could not set password")


def block_passwd(context: Context, _: object) -> None:
    """Fail: images have had no passwords of this kind since QEMU 2.9."""
    raise GenericError("Setting block passwords directly is no longer supported")


def query_events(context: Context, _: None) -> list[dict[str, Any]]:
    """All events, the last of the schema first; later query-qmp-schema tells them."""
    machine = context.machine
    return [
        {"name": name} for name in reversed(machine.profile.program(machine.personality).events)
    ]


def migrate_set_speed(context: Context, arguments: MigrateSetSpeedArguments) -> None:
    """Limit the speed of a migration, in bytes per second."""
    context.machine.migration.set_parameters({"max-bandwidth": arguments.value})


def migrate_set_downtime(context: Context, arguments: MigrateSetDowntimeArguments) -> None:
    """Limit how long the guest may stand still, in seconds."""
    if not 0 <= arguments.value <= MOST_DOWNTIME:
        raise GenericError(
            "Parameter 'downtime_limit' expects an integer in the range of 0 to"
            f" {MOST_DOWNTIME} seconds"
        )
    context.machine.migration.set_parameters({"downtime-limit": int(arguments.value * 1000)})


MOST_DOWNTIME: Final = 2000
"""The most seconds that a guest may be asked to stand still."""


def migrate_set_cache_size(context: Context, arguments: MigrateSetCacheSizeArguments) -> None:
    """Set the size of xbzrle's cache, in bytes."""
    context.machine.migration.set_parameters({"xbzrle-cache-size": arguments.value})


def query_migrate_cache_size(context: Context, _: None) -> Any:
    """The size of xbzrle's cache, in bytes."""
    return context.machine.migration.parameters["xbzrle-cache-size"]


HANDLERS: Final[Handlers] = {
    "x-blockdev-reopen": x_blockdev_reopen,
    "block_passwd": block_passwd,
    "change": change,
    "query-events": query_events,
    "migrate_set_speed": migrate_set_speed,
    "migrate_set_downtime": migrate_set_downtime,
    "migrate-set-cache-size": migrate_set_cache_size,
    "query-migrate-cache-size": query_migrate_cache_size,
}
