"""Commands of schema module block: devices, media, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.block.change.closing import release
from qmpd.block.change.create_image import open_image
from qmpd.block.io import medium
from qmpd.block.io.backends import find_backend
from qmpd.block.io.io_limits import set_io_limits
from qmpd.block.io.stats import set_histograms
from qmpd.block.model.parent import CHILD_ROOT
from qmpd.block.throttle.limits import BUCKETS, ThrottleConfig
from qmpd.errors import DeviceNotFound, GenericError
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.profile.models.block import (
        BlockdevChangeMediumArguments,
        BlockdevCloseTrayArguments,
        BlockdevInsertMediumArguments,
        BlockdevOpenTrayArguments,
        BlockdevRemoveMediumArguments,
        BlockLatencyHistogramSetArguments,
        EjectArguments,
    )
    from qmpd.profile.models.block_core import BlockIOThrottle

_LIMITS: Final = dict(
    zip(BUCKETS, ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), strict=True)
)
"""Arguments of block_set_io_throttle by the limits they mean."""


def _backend(context: Context, device: str | None, qdev_id: str | None) -> BlockBackend:
    """The backend that a `device`/`id` pair means (`qmp_get_blk`).

    :raises GenericError: not exactly one of them is given, or the device has none
    :raises DeviceNotFound: there is none
    """
    if (device is None) == (qdev_id is None):
        raise GenericError("Need exactly one of 'device' and 'id'")
    if qdev_id is not None:
        return context.machine.devices.backend_of(qdev_id)
    assert device is not None
    found = find_backend(context.machine.graph, device)
    if found is None:
        raise DeviceNotFound(f"Device '{device}' not found")
    return found


def _name(arguments: Any) -> str:
    """How messages call a device: as the command did."""
    device, qdev_id = arguments.device, arguments.id
    name: str = qdev_id if device is None else device
    return name


async def eject(context: Context, arguments: EjectArguments) -> None:
    """Open the tray, if there is one, and take the medium out."""
    backend = _backend(context, arguments.device, arguments.id)
    name = _name(arguments)
    medium.open_tray(backend, name, force=bool(arguments.force))
    await medium.remove_medium(backend, name)


def blockdev_open_tray(context: Context, arguments: BlockdevOpenTrayArguments) -> None:
    """Open the tray."""
    backend = _backend(context, arguments.device, arguments.id)
    name = _name(arguments)
    medium.open_tray(backend, name, force=bool(arguments.force))


def blockdev_close_tray(context: Context, arguments: BlockdevCloseTrayArguments) -> None:
    """Close the tray."""
    backend = _backend(context, arguments.device, arguments.id)
    medium.close_tray(backend, _name(arguments))


async def blockdev_remove_medium(
    context: Context, arguments: BlockdevRemoveMediumArguments
) -> None:
    """Take the medium out of an open tray."""
    backend = _backend(context, None, arguments.id)
    await medium.remove_medium(backend, arguments.id)


async def blockdev_insert_medium(
    context: Context, arguments: BlockdevInsertMediumArguments
) -> None:
    """Put a node into an open tray."""
    backend = _backend(context, None, arguments.id)
    node = context.machine.graph.find_node(arguments.node_name)
    if node is None:
        raise GenericError(f"Node '{arguments.node_name}' not found")
    if any(edge.kind is CHILD_ROOT for edge in node.parents):
        raise GenericError(f"Node '{arguments.node_name}' is already in use")
    await medium.insert_medium(backend, node)


async def blockdev_change_medium(
    context: Context, arguments: BlockdevChangeMediumArguments
) -> None:
    """Open an image, and have it take the place of the medium."""
    backend = _backend(context, arguments.device, arguments.id)
    name = _name(arguments)
    graph = context.machine.graph
    mode = arguments.read_only_mode or "retain"
    before = backend.node
    retained = backend.read_only if before is None else before.read_only
    node = await open_image(
        graph,
        arguments.filename,
        arguments.format,
        like=before,
        backing=True,
        read_only=mode == "read-only" or (mode == "retain" and retained),
    )
    try:
        medium.open_tray(backend, name, force=bool(arguments.force))
        await medium.remove_medium(backend, name)
        await medium.insert_medium(backend, node)
        medium.close_tray(backend, name)
    finally:
        await release(node)


async def block_set_io_throttle(context: Context, arguments: BlockIOThrottle) -> None:
    """Limit a drive's I/O; nothing but zeroes lifts the limits."""
    backend = _backend(context, arguments.device, arguments.id)
    name = _name(arguments)
    if backend.node is None:
        raise GenericError("Device has no medium")
    config = ThrottleConfig()
    limits: dict[str, int] = {}
    for limit, argument in _LIMITS.items():
        limits[limit] = getattr(arguments, argument)
        for suffix in ("max", "max_length"):
            value = getattr(arguments, f"{argument}_{suffix}")
            if value is not None:
                limits[f"{limit}-{suffix.replace('_', '-')}"] = value
    if arguments.iops_size is not None:
        limits["iops-size"] = arguments.iops_size
    config.update(limits)
    config.check()
    await set_io_limits(backend, config, arguments.group, default_group=name)


def block_latency_histogram_set(
    context: Context, arguments: BlockLatencyHistogramSetArguments
) -> None:
    """Collect, or no longer collect, how long requests of a device take."""
    backend = _backend(context, None, arguments.id)
    set_histograms(backend.stats, context.raw)


def query_pr_managers(context: Context, _: None) -> list[dict[str, Any]]:
    """Persistent reservation managers: object-add makes none."""
    return []


HANDLERS: Final[Handlers] = {
    "eject": eject,
    "blockdev-open-tray": blockdev_open_tray,
    "blockdev-close-tray": blockdev_close_tray,
    "blockdev-remove-medium": blockdev_remove_medium,
    "blockdev-insert-medium": blockdev_insert_medium,
    "blockdev-change-medium": blockdev_change_medium,
    "block_set_io_throttle": block_set_io_throttle,
    "block-latency-histogram-set": block_latency_histogram_set,
    "query-pr-managers": query_pr_managers,
}
