"""Opening nodes: which options a child takes from its parent, and the order of it all."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.qdict import QDict
from qmpd.block.change.closing import close_unopened, unref
from qmpd.block.change.drain import drained_begin, drained_end, quiesce
from qmpd.block.change.edges import attach_child, release_child
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.probe import probe_node
from qmpd.block.model.driver_table import find_driver
from qmpd.block.model.flags import NodeFlags
from qmpd.block.model.node import Node
from qmpd.block.model.node_options import NodeOptions
from qmpd.block.permission_bits import COW, DATA
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.model.driver import BlockDriver
    from qmpd.block.model.graph import Graph
    from qmpd.block.permission_bits import Role


_CONTAINERS: Final = (
    *("cache", "inject-error", "set-state", "take-child-perms", "unshare-child-perms"),
)
"""Options that are objects or lists, and only known by their members."""


_EMPTY_BACKING: Final = 'warning: Use of "backing": "" is deprecated; use "backing": null instead'


def check_named_backing(options: Mapping[str, Any]) -> None:
    """Refuse a backing file defined inline for an image whose header names one, as QEMU does.

    QEMU opens the name of the header with the options given, unless these have a
    file name where a format node has it; most others cannot take one.

    :raises GenericError: with QEMU's text
    """
    file = options.get("file")
    if isinstance(file, Mapping) and "filename" in file:
        return
    while True:
        driver = find_driver(options["driver"])
        if driver.shape.needs_filename:
            raise GenericError("Can't specify 'file' and 'filename' options at the same time")
        if not driver.shape.file_child:
            raise GenericError(
                f"The only allowed filename for this driver is '{driver.format_name}://'"
            )
        below = options["file"]
        if isinstance(below, str):
            raise GenericError(
                "Cannot reference an existing block device with additional options"
                " or a new filename"
            )
        options = below


Opener = Callable[[Node, Mapping[str, Any]], Awaitable["BlockDriver"]]
"""Opens the driver of a node from its options: what `BlockDriver.open` is."""


async def open_node(
    graph: Graph,
    options: Mapping[str, Any],
    *,
    active: bool = True,
    probed: bool = False,
    whole: bool = True,
    opener: Opener | None = None,
) -> Node:
    """Open a node with all it stands on, in QEMU's order: file, options, name, driver.

    :param options: as blockdev-add takes them, already validated; those of an image may lack the
        driver, which is found out by what the file holds
    :param active: whether it is active where the options do not say
    :param probed: whether the driver is but a guess
    :param whole: as bdrv_open does it, which holds the file by a backend of its own meanwhile;
        not so bdrv_new_open_driver_opts
    :param opener: opens the driver, with what options cannot say; the driver's `open` if absent
    :raises QmpError: QEMU's texts; nothing is left open then
    """
    driver = find_driver(options.get("driver", "raw"))
    own = options if isinstance(options, NodeOptions) else NodeOptions(options, probed=probed)
    if own.get("backing") == "":
        graph.services.say.report(_EMPTY_BACKING)
        own = own.changed({"backing": None})
    flags = NodeFlags.of_options(own, active=active)
    node = Node(graph, driver, own, flags)
    file: Node | None = None
    try:
        if driver.shape.file_child and "file" in own:
            # What the options say of it is not known yet when QEMU opens the file.
            if flags.active != active:
                node.flags = replace(flags, active=active)
            file = await open_reference(graph, own["file"], node)
            node.flags = flags
            if whole:
                await _file_backend_comes(graph)
        if "driver" not in own:
            driver, own = await _find_driver_out(file, own)
            node.driver_class, node.options = driver, own
        await _open_driver(node, file, own, opener or driver.open)
    except BaseException:
        if file is not None:
            if whole:
                await _file_backend_goes(file)
            await unref(file)
        await close_unopened(node)
        raise
    try:
        if file is not None and whole:
            await _file_backend_goes(file)
        await node.driver.open_backing(own)
        _check_all_used(driver, own.given)
        node.options = node.options.without_children()
    except BaseException:
        await node.driver.close()
        await close_unopened(node)
        raise
    return node


async def _find_driver_out(
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


async def _file_backend_comes(graph: Graph) -> None:
    """bdrv_open holds the file by a backend of its own while it opens the driver."""
    async with write_lock(graph):
        pass


async def _file_backend_goes(file: Node) -> None:
    """That backend is given up: blk_unref drains the file, and so does blk_remove_bs after it."""
    for _ in range(2):
        await drained_begin(file)
        drained_end(file)
    async with write_lock(file.graph):
        pass


async def _open_driver(
    node: Node, file: Node | None, options: Mapping[str, Any], opener: Opener
) -> None:
    """What remains to be done once the file is open (bdrv_open_common)."""
    graph, driver = node.graph, node.driver_class
    _read_common_options(node, options, driver.shape.needs_filename)
    graph.register(node, options.get("node-name"))
    for _ in range(graph.drains):
        quiesce([node])
    try:
        if driver.shape.file_child:
            if file is None:
                raise GenericError('A block device must be specified for "file"')
            async with write_lock(graph):
                attach_child(node, "file", file, driver.file_role(options))
        node.driver = await opener(node, options)
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
                release_child(node, "file")
        raise


async def open_reference(
    graph: Graph,
    reference: str | Mapping[str, Any],
    parent: Node,
    *,
    backing: bool = False,
) -> Node:
    """A child for `parent`: the node named, or a new one from its options.

    :param backing: it is to be a backing file
    :raises QmpError: QEMU's texts; nothing is left open then
    """
    if isinstance(reference, str):
        return graph.lookup_device_or_node(reference, reference)
    options = NodeOptions.inside(reference, parent, backing=backing)
    child = await open_node(graph, options, active=parent.active)
    child.follow(parent)
    return child


async def open_child(
    node: Node,
    name: str,
    reference: str | Mapping[str, Any],
    *,
    role: Role = DATA,
) -> Node:
    """Give `node` a child: an existing node by name, or a new one from its options.

    :param role: what it holds, see `qmpd.block.permission_bits`
    :raises QmpError: it cannot be opened, or its other parents object
    """
    child = await open_reference(node.graph, reference, node, backing=bool(role & COW))
    try:
        async with write_lock(node.graph):
            attach_child(node, name, child, role)
    except BaseException:
        if child is not node:
            await unref(child)
        raise
    return child


def _check_all_used(driver: type[BlockDriver], given: Mapping[str, Any]) -> None:
    """Refuse empty objects and lists: their members are options to QEMU, they are not.

    :raises GenericError: for the first in QEMU's order
    """
    for name, value in QDict(given).items():
        if name in _CONTAINERS and not value:
            if driver.shape.is_protocol:
                raise GenericError(
                    f"Block protocol '{driver.format_name}' doesn't support the option '{name}'"
                )
            raise GenericError(
                f"Block format '{driver.format_name}' does not support the option '{name}'"
            )


def _read_common_options(node: Node, options: Mapping[str, Any], needs_filename: bool) -> None:
    if node.force_share and not node.read_only:
        raise GenericError("force-share=on can only be used with read-only images")
    if needs_filename and not options.get("filename"):
        driver = options["driver"]
        raise GenericError(f"The '{driver}' block driver requires a file name")
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
