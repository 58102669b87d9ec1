"""Making and opening images by file name, as snapshots and drive-* commands do."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.sizes import SECTOR
from qmpd.block.change.closing import release
from qmpd.block.change.fill import find_protocol, protocol_options
from qmpd.block.change.opening import open_flat
from qmpd.block.change.probe import find_format
from qmpd.block.model.driver_table import find_driver
from qmpd.block.model.families import ImageCreator
from qmpd.block.model.flat_options import FlatOptions
from qmpd.block.model.protocol_name import has_protocol
from qmpd.errors import BlockIOError, GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.block.model.driver import BlockDriver
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node

_NO_CREATION: Final = (
    "Protocol driver '{}' does not support creating new images, so an existing image must be"
    " selected as the target; however, opening the given target as an existing image failed: "
)


async def create_image(
    graph: Graph,
    name: str,
    image_format: str,
    size: int,
    *,
    backing_file: str | None = None,
    backing_format: str | None = None,
    looks_at_backing: bool = False,
) -> None:
    """Make an image of `size` bytes, and say so on standard output (QEMU's bdrv_img_create).

    :param backing_file: the name its header gets
    :param looks_at_backing: whether that file must be there
    :raises QmpError: QEMU's texts
    """
    find_format(image_format)
    driver = find_driver(image_format)
    if name.startswith("json:"):
        raise GenericError("Unknown protocol 'json'")
    protocol = find_protocol(name, graph.services.storage)
    if not driver.capabilities.creates_images:
        raise GenericError(f"Format driver '{image_format}' does not support image creation")
    if not protocol.capabilities.creates_images:
        raise GenericError(
            f"Protocol driver '{protocol.format_name}' does not support image creation"
        )
    if backing_file is not None and not driver.capabilities.backing:
        raise GenericError(f"Backing file not supported for file format '{image_format}'")
    if backing_file == name:
        raise GenericError(
            "Error: Trying to create an image with the same filename as the backing file"
        )
    if backing_file and looks_at_backing:
        await _look_at(graph, _beside(name, backing_file), backing_format)
    graph.services.say.print(driver.creation_line(name, size, backing_file, backing_format))
    options: dict[str, Any] = {"size": size}
    if backing_file is not None:
        options["backing-file"] = backing_file
        if backing_format is not None:
            options["backing-fmt"] = backing_format
    try:
        await _make(graph, driver, protocol, name, options)
    except BlockIOError as error:
        if error.errno != errno.EFBIG:
            raise
        sized = issubclass(driver, ImageCreator) and driver.has_cluster_size
        hint = " (try using a larger cluster size)" if sized else ""
        raise GenericError(
            f"The image size is too large for file format '{image_format}'{hint}"
        ) from error


def _beside(name: str, backing_file: str) -> str:
    """A backing file's name as an image of this name means it, before there is the image.

    :raises GenericError: it is relative, and the image has no directory
    """
    if backing_file.startswith("/") or has_protocol(backing_file):
        return backing_file
    if not name or name.startswith("json:"):
        raise GenericError(f"Cannot use relative backing file names for '{name}'")
    return name[: max(name.rfind("/"), name.rfind(":")) + 1] + backing_file


async def _look_at(graph: Graph, name: str, image_format: str | None) -> None:
    """Open a backing file, and close it again.

    :raises QmpError: it cannot be opened
    """
    try:
        node = await open_image(graph, name, image_format, read_only=True, backing=True)
    except QmpError as error:
        raise error.hinted("Could not open backing image.") from None
    await release(node)


async def _make(
    graph: Graph,
    driver: type[BlockDriver],
    protocol: type[BlockDriver],
    name: str,
    options: Mapping[str, Any],
) -> None:
    """Make the file, and the image in it; where that fails the file is deleted."""
    if not issubclass(driver, ImageCreator) or driver.shape.is_protocol:
        await _make_file(graph, protocol, name, options["size"])
        return
    await _make_file(graph, protocol, name, 0)
    file_options = protocol_options(name, graph.services.storage)
    file = _nested(file_options)
    try:
        await driver.create(graph, {"driver": driver.format_name, "file": file, **options})
    except QmpError:
        if issubclass(protocol, ImageCreator):
            protocol.delete_file(graph, file_options)
        raise


def _nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a command line as blockdev-add has them."""
    flat = FlatOptions(options)
    names = dict.fromkeys(name.partition(".")[0] for name in options)
    return {name: options[name] if name in options else flat.tree(name) for name in names}


async def _make_file(graph: Graph, protocol: type[BlockDriver], name: str, size: int) -> None:
    """Make the file of an image, or take the one that a driver has that makes none.

    That must be long enough; what it began with goes, so that it is no image of another format
    (``bdrv_co_create_opts_simple``).

    :param name: its name, from which its options come
    :param size: bytes
    :raises QmpError: QEMU's texts
    """
    if issubclass(protocol, ImageCreator):
        options = protocol_options(name, graph.services.storage)
        await protocol.create(graph, {**options, "size": size})
        return
    try:
        flat = FlatOptions()
        flat["driver"] = protocol.format_name
        node = await open_flat(graph, name, flat)
    except QmpError as error:
        raise error.prefixed(_NO_CREATION.format(protocol.format_name)) from None
    node.hold()
    try:
        await _grow(node, size)
        first = min(node.length, SECTOR)
        if first:
            await node.pwrite_zeroes(0, first, may_unmap=True, of_backend=True)
    finally:
        await release(node)


async def _grow(node: Node, size: int) -> None:
    """Make a node at least `size` bytes long, or see that it is (`create_file_fallback_truncate`).

    :raises QmpError: it is shorter
    """
    try:
        await node.truncate(size, exact=False)
    except BlockIOError as error:
        if not error.is_unsupported or node.driver.get_length() < size:
            raise


async def open_image(
    graph: Graph,
    name: str,
    image_format: str | None,
    *,
    node_name: str | None = None,
    like: Node | None = None,
    backing: bool = False,
    read_only: bool = False,
    more: Mapping[str, Any] | None = None,
) -> Node:
    """Open an image by its file name; it is held once.

    :param image_format: None to find it out
    :param like: a node whose cache mode and discard it has; it is a protocol if that is one,
        where no format is given
    :param more: further options
    :param backing: whether the backing file that its header names is opened, too
    :raises QmpError: QEMU's texts
    """
    flat = FlatOptions()
    if image_format is not None:
        flat["driver"] = image_format
    if read_only:
        flat["read-only"] = True
    if node_name is not None:
        flat["node-name"] = node_name
    if like is not None:
        flat["cache.direct"], flat["cache.no-flush"] = like.cache.direct, like.cache.no_flush
        flat["discard"] = "unmap" if like.unmap else "ignore"
    flat.update(FlatOptions.flatten(more or {}))
    as_protocol = like is not None and like.driver.shape.is_protocol
    more_options = None if backing else {"backing": None}
    node = await open_flat(graph, name, flat, more=more_options, as_protocol=as_protocol)
    node.options = node.options.without("backing")
    node.hold()
    return node
