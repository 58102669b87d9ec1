"""blockdev-create of an image (qcow2_co_create), from its options to the finished file."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from qmpd.block.change.closing import unref
from qmpd.block.change.opening import open_node
from qmpd.block.drivers.formats.qcow2.creation.create import (
    complete_image,
    flush_image,
    write_first_clusters,
)
from qmpd.block.drivers.formats.qcow2.creation.options import CreateOptions, check_create_options
from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.block.io.backend import BlockBackend
from qmpd.block.model.filename import filename
from qmpd.block.permission_bits import ALL, RESIZE, WRITE

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node

T = TypeVar("T")


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
    file = await _open(graph, options["file"])
    data_file: Node | None = None
    try:
        preallocates = graph.services.manners.raw_data_files_are_preallocated
        checked = check_create_options(options, preallocates_raw=preallocates)
        if checked.has_data_file:
            data_file = await _open(graph, options["data-file"])
        await _write(file, checked)
        await _complete(file, data_file, checked)
    finally:
        await _let_go(file)
        if data_file is not None:
            await _let_go(data_file)


async def _write(file: Node, checked: CreateOptions) -> None:
    """Write an image without clusters."""
    backend = await _apart(file.graph, BlockBackend.on(file, perm=WRITE | RESIZE, shared=ALL))
    try:
        await write_first_clusters(file, checked)
    finally:
        await _apart(file.graph, backend.close())


async def _complete(file: Node, data_file: Node | None, checked: CreateOptions) -> None:
    """Open the image and let it have what is missing."""
    graph = file.graph
    options: dict[str, Any] = {"driver": "qcow2", "file": file.node_name}
    name = None
    if data_file is not None:
        options["data-file"] = data_file.node_name
        name = filename(data_file)
    image = await _leave_to_bottom_half(
        graph, _new_open(graph, {**options, "cache": {"no-flush": True}})
    )
    try:
        assert image.node is not None
        made = image.node.driver.layer
        assert isinstance(made, Qcow2State)
        with file.unfinished():
            await complete_image(made, checked, name)
        await flush_image(file)
    finally:
        await _leave_to_bottom_half(graph, image.close())
    # Once more, to flush what was written without.
    image = await _leave_to_bottom_half(graph, _new_open(graph, {**options, "backing": None}))
    await _leave_to_bottom_half(graph, image.close())


async def _leave_to_bottom_half(graph: Graph, work: Coroutine[Any, Any, T]) -> T:
    """Do what the coroutine of a job must not do (``bdrv_co_unref`` and the like)."""
    return await graph.services.loop.in_bottom_half(work, "part of blockdev-create")


async def _apart(graph: Graph, work: Coroutine[Any, Any, T]) -> T:
    """Do what such a coroutine must not do in most versions."""
    if graph.services.manners.creations_open_themselves:
        return await work
    return await _leave_to_bottom_half(graph, work)


async def _let_go(node: Node) -> None:
    """Release a node; a coroutine never closes one."""
    graph = node.graph
    node.unhold()
    if not (node.is_held() and graph.services.manners.creations_open_themselves):
        await _leave_to_bottom_half(graph, unref(node))


async def _open(graph: Graph, reference: str | Mapping[str, Any]) -> Node:
    """The node that a BlockdevRef names or defines, held (``bdrv_co_open_blockdev_ref``)."""
    if isinstance(reference, str):
        node = await _apart(graph, _find(graph, reference))
    else:
        node = await _leave_to_bottom_half(graph, open_node(graph, reference))
    node.hold()
    return node


async def _find(graph: Graph, name: str) -> Node:
    return graph.lookup_device_or_node(name, name)


async def _new_open(graph: Graph, options: Mapping[str, Any]) -> BlockBackend:
    """A backend on a new node (``blk_new_open``)."""
    return await BlockBackend.on(await open_node(graph, options))
