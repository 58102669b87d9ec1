"""What query-block and query-named-block-nodes tell, as plain dictionaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.block.filename import filename

if TYPE_CHECKING:
    from qmpd.block.backend import BlockBackend
    from qmpd.block.graph import Graph
    from qmpd.block.node import Node


async def image_info(node: Node, *, flat: bool) -> dict[str, Any]:
    """ImageInfo of a node; `flat` leaves out its backing image."""
    info: dict[str, Any] = {
        "filename": filename(node),
        "format": node.driver.format_name,
        "virtual-size": node.length,
    }
    allocated = node.driver.allocated_size()
    if allocated is not None:
        info["actual-size"] = allocated
    info |= await node.driver.info_members()
    if not flat and node.backing is not None:
        info["backing-image"] = await image_info(node.backing, flat=False)
    return info


async def block_device_info(node: Node, *, flat: bool) -> dict[str, Any]:
    """BlockDeviceInfo of a node."""
    name = filename(node)
    info: dict[str, Any] = {
        "file": name,
        "node-name": node.node_name,
        "ro": node.read_only,
        "drv": node.driver.format_name,
        "encrypted": False,
        "detect_zeroes": node.detect_zeroes,
        "bps": 0,
        "bps_rd": 0,
        "bps_wr": 0,
        "iops": 0,
        "iops_rd": 0,
        "iops_wr": 0,
        "image": await image_info(node, flat=flat),
        "cache": {
            "writeback": True,
            "direct": node.cache.direct,
            "no-flush": node.cache.no_flush,
        },
        "write_threshold": node.write_threshold,
        "active": node.active,
        "backing_file_depth": 0 if flat else backing_depth(node),
    }
    if node.backing is not None:
        info["backing_file"] = filename(node.backing)
    if node.bitmaps:
        info["dirty-bitmaps"] = [bitmap.info() for bitmap in node.bitmaps]
    return info


def backing_depth(node: Node) -> int:
    """How many images lie below `node` in its backing chain."""
    depth = 0
    below = node.backing
    while below is not None:
        depth += 1
        below = below.backing
    return depth


async def block_info(backend: BlockBackend) -> dict[str, Any]:
    """BlockInfo of a backend."""
    info: dict[str, Any] = {"device": backend.name}
    if backend.device_id is not None:
        info["qdev"] = backend.device_id
    info |= {"type": "unknown", "removable": backend.removable, "locked": False}
    if backend.node is not None:
        info["inserted"] = await block_device_info(backend.node, flat=False)
    return info


async def query_block(graph: Graph) -> list[dict[str, Any]]:
    """Command query-block: every named backend, in the order they were made."""
    return [await block_info(backend) for backend in graph.backends.values()]


async def query_named_block_nodes(graph: Graph, *, flat: bool) -> list[dict[str, Any]]:
    """Command query-named-block-nodes: every node, the newest first."""
    return [await block_device_info(node, flat=flat) for node in graph.nodes()]
