"""What query-block and query-named-block-nodes tell, as plain dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.newest_first import NewestFirst
from qmpd.base.sizes import as_int64
from qmpd.block.io.backends import shown_backends
from qmpd.block.io.disk_snapshots import snapshot_list
from qmpd.block.model.filename import Names, filename
from qmpd.block.model.limits import BlockLimits
from qmpd.block.throttle.limits import BUCKETS
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node

_NO_LIMITS: Final = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)

_CACHES: Final = {
    modes: dict(zip(("writeback", "direct", "no-flush"), modes, strict=True))
    for modes in product((False, True), repeat=3)
}
"""BlockdevCacheInfo of each mode, the same object every time: it is encoded once for all nodes."""


async def image_info(
    node: Node, *, flat: bool, names: Names | None = None, every: bool = True
) -> dict[str, Any]:
    """ImageInfo of a node.

    :param flat: leave out the image below it
    :param names: file names that are known already, see `filename`
    :param every: show filters that a job has put there by itself, too
    """
    top = info = await _own_info(node, names)
    current = node
    while True:
        below = None if flat or not current.children else current.filter_or_backing
        if below is not None and not every:
            below = below.skip_implicit_filters()
        if below is None:
            return top
        info["backing-image"] = await _own_info(below, names)
        info, current = info["backing-image"], below


async def _own_info(node: Node, names: Names | None) -> dict[str, Any]:
    """ImageInfo of a node without what lies below it."""
    driver = node.driver
    info: dict[str, Any] = {
        "filename": filename(node, names),
        "format": driver.format_name,
        "virtual-size": node.length,
    }
    allocated = driver.allocated_size()
    if allocated is not None:
        info["actual-size"] = allocated
    info.update(await driver.info_members())
    if node.graph.services.manners.tells_more:
        info["limits"] = _limits_info(node)
    if node.children:
        snapshots = snapshot_list(node)
        if snapshots:
            info["snapshots"] = snapshots
    return info


async def block_device_info(
    node: Node, *, flat: bool, backend: BlockBackend | None = None, names: Names | None = None
) -> dict[str, Any]:
    """BlockDeviceInfo of a node.

    :param backend: the one it is seen through
    :param flat: leave out what lies below it
    :raises GenericError: it has no medium
    """
    if node.driver.gone:
        raise GenericError(f"Block device {node.node_name} is ejected")
    names = {} if names is None else names
    flags = node.flags
    children = node.children
    info: dict[str, Any] = {
        "file": filename(node, names),
        "node-name": node.node_name,
        "ro": flags.read_only,
        "drv": node.driver.format_name,
    }
    backing = node.backing if children else None
    if backing is not None:
        info["backing_file"] = filename(backing, names)
    if node.graph.services.manners.tells_more:
        info["children"] = [
            {"child": edge.name, "node-name": edge.node.node_name}
            for edge in reversed(children.values())
        ]
    info["backing_file_depth"] = (
        0 if flat or not children else chain_depth(node, every=backend is None)
    )
    info["encrypted"] = False
    info["detect_zeroes"] = flags.detect_zeroes
    info |= _NO_LIMITS if backend is None else _limits(backend)
    info["image"] = await image_info(node, flat=flat, names=names, every=backend is None)
    writeback = backend is None or backend.enable_write_cache
    info["cache"] = _CACHES[writeback, flags.cache.direct, flags.cache.no_flush]
    info["write_threshold"] = as_int64(node.write_threshold)
    if node.bitmaps:
        info["dirty-bitmaps"] = [bitmap.info() for bitmap in node.bitmaps]
    info["active"] = flags.active
    return info


MOST_PIECES: Final = 1024
"""Pieces of memory that a request may have (IOV_MAX)."""

PAGE: Final = 4096


def _limits_info(node: Node) -> dict[str, Any]:
    """BlockLimitsInfo of a node (`bdrv_query_image_info`); what has no limit is left out."""
    limits = node.limits or BlockLimits()
    # formats with clusters write whole ones of zeroes
    piece = None if node.driver.shape.is_filter else node.driver.subcluster_size()
    info = {"request-alignment": max(limits.request_alignment, node.alignments.request)}
    for name, value in (
        ("max-discard", limits.max_pdiscard),
        ("discard-alignment", node.alignments.discard),
        ("max-write-zeroes", limits.max_pwrite_zeroes),
        ("write-zeroes-alignment", limits.pwrite_zeroes_alignment or piece),
        ("max-transfer", limits.max_transfer),
    ):
        if value:
            info[name] = value
    return {
        **info,
        "max-iov": MOST_PIECES,
        "min-mem-alignment": node.alignments.memory,
        "opt-mem-alignment": PAGE,
    }


def _limits(backend: BlockBackend) -> Mapping[str, Any]:
    """The limits a backend is under."""
    if backend.throttle is None:
        return _NO_LIMITS
    group = backend.throttle.group
    names = dict(zip(BUCKETS, _NO_LIMITS, strict=True))
    buckets = group.config.buckets
    info: dict[str, Any] = {names[limit]: bucket.avg for limit, bucket in buckets.items()}
    for limit, bucket in buckets.items():
        if bucket.max:
            info[f"{names[limit]}_max"] = bucket.max
            info[f"{names[limit]}_max_length"] = bucket.burst_length
    if group.config.op_size:
        info["iops_size"] = group.config.op_size
    info["group"] = group.name
    return info


def chain_depth(node: Node, *, every: bool = True) -> int:
    """How many images and filters lie below `node` in its chain.

    :param every: count filters that a job has put there by itself, too
    """
    depth = 0
    below = node.filter_or_backing
    while below is not None:
        depth += every or not below.implicit
        below = below.filter_or_backing
    return depth


async def block_info(backend: BlockBackend, *, flat: bool) -> dict[str, Any]:
    """BlockInfo of a backend.

    :param flat: leave out backing images
    """
    info: dict[str, Any] = {"device": backend.name}
    if backend.device_id:
        info["qdev"] = backend.device_id
    info["type"] = "unknown"
    info["removable"] = backend.has_removable_media
    info["locked"] = backend.is_medium_locked()
    # what a job has put there by itself is nothing the user knows of
    node = None if backend.node is None else backend.node.skip_implicit_filters()
    if node is not None and not node.driver.gone:
        info["inserted"] = await block_device_info(node, flat=flat, backend=backend)
    if backend.has_tray:
        info["tray_open"] = backend.is_tray_open()
    if backend.io_status is not None:
        info["io-status"] = backend.io_status
    return info


async def query_block(graph: Graph, *, flat: bool = False) -> list[dict[str, Any]]:
    """Command query-block: every backend with a name or a device, in the order they were made."""
    return [await block_info(backend, flat=flat) for backend in shown_backends(graph)]


async def query_named_block_nodes(graph: Graph, *, flat: bool) -> list[dict[str, Any]]:
    """Command query-named-block-nodes: every node, the newest first."""
    names: Names = {}
    nodes = NewestFirst(graph.nodes())
    return [await block_device_info(node, flat=flat, names=names) for node in nodes]
