"""What opening a node comes to once its file is open (``bdrv_open_common``)."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.change.aio_context import go_home
from qmpd.block.change.drain import quiesce
from qmpd.block.change.edges import attach_child, release_child
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.probe import probe_node
from qmpd.block.model.driver_table import find_driver
from qmpd.block.model.filename import filename as name_of
from qmpd.block.model.flags import NodeFlags
from qmpd.block.model.flat_options import (
    COMMON,
    FlatOptions,
    check_common_words,
)
from qmpd.block.model.node import Node
from qmpd.block.model.node_options import CHILDREN, NodeOptions
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.model.driver import BlockDriver
    from qmpd.block.model.interface import DriverInterface


Opener = Callable[[Node, Mapping[str, Any]], Awaitable["DriverInterface[Node]"]]
"""Opens the driver of a node from its options: what `BlockDriver.open` is."""


async def find_driver_out(
    file: Node | None, options: NodeOptions
) -> tuple[type[BlockDriver], NodeOptions]:
    """The driver for what `file` holds (``find_image_format``), and the options with it.

    Its backing file is no matter where such images have none.

    :raises GenericError: there is no file, or it cannot be read
    """
    if file is None:
        raise GenericError("Must specify either driver or file")
    try:
        driver = find_driver(await probe_node(file))
    except BlockIOError as error:
        raise GenericError(
            f"Could not read image for determining its format: {os.strerror(error.errno)}"
        ) from None
    options = options.with_driver(driver.format_name)
    return driver, options if driver.capabilities.backing else options.without("backing")


async def open_driver(
    node: Node, file: Node | None, flat: FlatOptions | None, opener: Opener
) -> None:
    """What remains to be done once the file is open (bdrv_open_common)."""
    graph, driver = node.graph, node.driver_class
    shape = driver.shape
    if flat is not None:
        named = flat.get("filename") if file is None else name_of(file)
        _read_common_options(node, named, flat)
    else:
        _read_common_options(node, node.options.get("filename"))
    graph.register(node, node.options.get("node-name"))
    for _ in range(graph.drains):
        quiesce([node])
    failure: GenericError | None = None
    try:
        if flat is not None and (file is not None or not shape.file_child or shape.options_first):
            failure = _take_own(node, flat)
        options = node.options
        if shape.file_child:
            if file is None:
                raise GenericError('A block device must be specified for "file"')
            async with write_lock(graph):
                attach_child(node, "file", file, driver.file_role(options))
            if flat is not None:
                flat.pop("file", None)
        node.driver = await opener(node, options)
        if failure is not None:
            await node.driver.close()
            raise failure
        if graph.on_opened is not None:
            graph.on_opened(node)
        try:
            node.refresh_length()
            node.refresh_limits()
        except BaseException:
            await node.driver.close()
            raise
    except BaseException:
        async with write_lock(graph):
            if "file" in node.children:
                await go_home(release_child(node, "file"))
        raise


def _take_own(node: Node, flat: FlatOptions) -> GenericError | None:
    """Read the driver's own options.

    :returns: what is wrong with them, where that is told only when the image is open
    :raises GenericError: what is wrong with them
    """
    driver, own = node.driver_class, node.options
    strong = {name: flat.tree(name) for name in driver.shape.strong_options}
    unknown = node.services.manners.unknown_options
    unread = {name: flat.pop(name) for name in unknown if name in flat}
    try:
        taken = driver.take_options(flat)
    except GenericError as error:
        if driver.shape.options_last:
            return error
        raise
    finally:
        flat.update(unread)
    texts = {name: value for name, value in strong.items() if value not in ({}, taken.get(name))}
    given = {**own.given, **{name: taken[name] for name in taken if name not in CHILDREN}}
    if not own.probed:
        given["driver"] = driver.format_name
    node.options = NodeOptions({**own, **taken}, given=given, texts=texts, probed=own.probed)
    return None


def check_all_used(driver: type[DriverInterface[Node]], left: Iterable[str]) -> None:
    """Refuse options that nobody has read.

    :raises GenericError: for the first in QEMU's order
    """
    for name in left:
        kind, verb = ("protocol", "doesn't") if driver.shape.is_protocol else ("format", "does not")
        raise GenericError(
            f"Block {kind} '{driver.format_name}' {verb} support the option '{name}'"
        )


_WITHOUT_ACTIVE: Final = {name: kind for name, kind in COMMON.items() if name != "active"}


def _read_common_options(node: Node, named: object, flat: FlatOptions | None = None) -> None:
    """Check the common options.

    :param named: whether there is a file name
    :raises GenericError: with QEMU's text
    """
    known = COMMON if node.services.manners.knows_active else _WITHOUT_ACTIVE
    words = {} if flat is None else flat.take(known)
    if node.force_share and not node.read_only:
        raise GenericError("force-share=on can only be used with read-only images")
    if node.driver_class.shape.needs_filename and not named:
        driver = node.driver_class.format_name
        raise GenericError(f"The '{driver}' block driver requires a file name")
    check_common_words(words)
    check_detect_zeroes(node.flags)


def check_detect_zeroes(flags: NodeFlags) -> None:
    """detect-zeroes=unmap needs discard=unmap.

    :raises GenericError: if discard is not "unmap"
    """
    if flags.detect_zeroes == "unmap" and not flags.unmap:
        raise GenericError(
            "setting detect-zeroes to unmap is not allowed without setting discard operation"
            " to unmap"
        )
