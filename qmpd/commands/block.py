"""Commands of schema modules block and block-export: devices, media, limits, exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.commands.registry import CommandTable, Context
from qmpd.errors import DeviceNotFound, GenericError, NotServed

if TYPE_CHECKING:
    from qmpd.block.backend import BlockBackend

BLOCK = CommandTable()


def _backend(context: Context, device: str | None, qdev_id: str | None) -> BlockBackend:
    """The backend that a `device`/`id` pair means.

    :raises GenericError: not exactly one of them is given
    :raises DeviceNotFound: there is none
    """
    if (device is None) == (qdev_id is None):
        raise GenericError("Need exactly one of 'device' and 'id'")
    graph = context.machine.graph
    found = graph.backend_of_device(qdev_id) if qdev_id else graph.backends.get(device or "")
    if found is None:
        raise DeviceNotFound(f"Device '{qdev_id or device or ''}' not found")
    return found


def _refuse_tray(context: Context, arguments: Any) -> None:
    _backend(context, arguments.device, arguments.id)
    raise NotServed("Trays and media are not served by qmpd yet")


def _refuse_medium(context: Context, arguments: Any) -> None:
    _backend(context, None, arguments.id)
    raise NotServed("Trays and media are not served by qmpd yet")


for _name in ("eject", "blockdev-open-tray", "blockdev-close-tray", "blockdev-change-medium"):
    BLOCK.command(_name)(_refuse_tray)
for _name in ("blockdev-insert-medium", "blockdev-remove-medium"):
    BLOCK.command(_name)(_refuse_medium)


@BLOCK.command("block_set_io_throttle")
def block_set_io_throttle(context: Context, arguments: Any) -> None:
    """Limit a drive's I/O: so far only an unknown drive is told."""
    _backend(context, arguments.device, arguments.id)
    raise NotServed("I/O throttling of drives is not served by qmpd yet")


@BLOCK.command("block-latency-histogram-set")
def block_latency_histogram_set(context: Context, arguments: Any) -> None:
    """Collect latencies of a device: so far only an unknown device is told."""
    _backend(context, None, arguments.id)
    raise NotServed("Latency histograms are not served by qmpd yet")


@BLOCK.command("query-pr-managers")
def query_pr_managers(context: Context, _: None) -> list[dict[str, Any]]:
    """Persistent reservation managers: object-add makes none."""
    return []


@BLOCK.command("query-block-exports")
def query_block_exports(context: Context, _: None) -> list[dict[str, Any]]:
    """Exports: block-export-add makes none yet."""
    return []
