"""blockdev-create of an image (qcow2_co_create), from its options to the finished file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qmpd.block.change.opening import open_node
from qmpd.block.drivers.formats.qcow2.creation.create import complete_image, write_first_clusters
from qmpd.block.drivers.formats.qcow2.creation.options import CreateOptions, check_create_options
from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.block.io.backend import BlockBackend
from qmpd.block.model.filename import filename
from qmpd.block.permission_bits import ALL, NOTHING, RESIZE, WRITE

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node


def creation_line(
    name: str, size: int, backing_file: str | None, backing_format: str | None
) -> str:
    """The line that bdrv_img_create prints before it makes an image with default options."""
    named = None if backing_file is None else backing_file.replace(",", ",,")
    backing = "" if named is None else f" backing_file={named}"
    if backing_format is not None:
        backing += f" backing_fmt={backing_format}"
    return (
        f"Formatting '{name}', fmt=qcow2 cluster_size=65536 extended_l2=off"
        f" compression_type=zlib size={size}{backing} lazy_refcounts=off refcount_bits=16\n"
    )


async def create_image(graph: Graph, options: Mapping[str, Any]) -> None:
    """Make an image in the `file` node.

    :param options: BlockdevCreateOptionsQcow2
    :raises QmpError: with QEMU's text
    """
    file = await _hold(graph, options["file"])
    data_file: BlockBackend | None = None
    try:
        checked = check_create_options(options)
        if checked.has_data_file:
            data_file = await _hold(graph, options["data-file"])
        await _format(file, data_file, checked)
    finally:
        await file.close()
        if data_file is not None:
            await data_file.close()


async def _format(
    file: BlockBackend, data_file: BlockBackend | None, checked: CreateOptions
) -> None:
    graph = file.graph
    assert file.node is not None
    file.require(WRITE | RESIZE)
    await write_first_clusters(file.node, checked)
    file.set_permissions(NOTHING, ALL)
    options: dict[str, Any] = {"driver": "qcow2", "file": file.node.node_name}
    name = None
    if data_file is not None and data_file.node is not None:
        options["data-file"] = data_file.node.node_name
        name = filename(data_file.node)
    image = await _hold(graph, {**options, "cache": {"no-flush": True}})
    try:
        assert image.node is not None
        made = image.node.driver.layer
        assert isinstance(made, Qcow2State)
        await complete_image(made, checked, name)
    finally:
        await image.close()
    # Once more, to flush what was written without.
    await (await _hold(graph, {**options, "backing": None})).close()


async def _hold(graph: Graph, reference: str | Mapping[str, Any]) -> BlockBackend:
    """A backend that holds the node that a BlockdevRef names or defines.

    Both are done in bottom halves, for the coroutine of a job must do neither
    (``bdrv_co_open_blockdev_ref``, ``blk_co_new_with_bs``).
    """
    loop = graph.services.loop
    node = await loop.in_bottom_half(_open(graph, reference), "open for blockdev-create")
    return await loop.in_bottom_half(BlockBackend.on(node), "backend for blockdev-create")


async def _open(graph: Graph, reference: str | Mapping[str, Any]) -> Node:
    if isinstance(reference, str):
        return graph.lookup_device_or_node(reference, reference)
    return await open_node(graph, reference)
