"""Opening nodes: which options a child takes from its parent, and the order of it all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.qdict import member_order
from qmpd.block.change.closing import close_unopened, unref
from qmpd.block.change.edges import attach_child
from qmpd.block.change.file_backend import FileBackend
from qmpd.block.change.fill import child_is_protocol, fill_options, join_json
from qmpd.block.change.graph_lock import standstill, write_lock
from qmpd.block.change.opening_driver import (
    Opener,
    check_all_used,
    find_driver_out,
    open_driver,
)
from qmpd.block.model.driver_table import find_driver, find_job_filter
from qmpd.block.model.flags import NodeFlags
from qmpd.block.model.flat_options import (
    INHERITED,
    ChildOptions,
    FlatOptions,
    read_common,
)
from qmpd.block.model.node import Node
from qmpd.block.model.node_options import NodeOptions
from qmpd.block.permission_bits import COW, DATA, IMAGE
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.interface import DriverInterface
    from qmpd.block.permission_bits import Role


_CONTAINERS: Final = (
    *("cache", "inject-error", "set-state", "take-child-perms", "unshare-child-perms"),
)
"""Options that are objects or lists, and only known by their members."""


_EMPTY: Final[tuple[object, ...]] = ({}, [])
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


async def open_node(
    graph: Graph,
    options: Mapping[str, Any],
    *,
    active: bool = True,
    whole: bool = True,
    for_job: bool = False,
    opener: Opener | None = None,
) -> Node:
    """Open a node with all it stands on, in QEMU's order: file, options, name, driver.

    :param options: as blockdev-add takes them, already validated; those of an image may lack the
        driver, which is found out by what the file holds
    :param active: whether it is active where the options do not say
    :param whole: as bdrv_open does it, which holds the file by a backend of its own meanwhile;
        not so bdrv_new_open_driver_opts
    :param for_job: whether it is a filter that only jobs can open
    :param opener: opens the driver, with what options cannot say; the driver's `open` if absent
    :raises QmpError: QEMU's texts; nothing is left open then
    """
    name = options.get("driver", "raw")
    driver = find_job_filter(name) if for_job else find_driver(name)
    own = options if isinstance(options, NodeOptions) else NodeOptions(options)
    if own.get("backing") == "":
        graph.services.say.report(_EMPTY_BACKING)
        own = own.changed({"backing": None})
    flags = NodeFlags.of_options(own, active=active)
    node = Node(graph, driver, own, flags)
    file = own.get("file") if driver.shape.file_child else None
    return await _open(node, file, active=active, whole=whole, opener=opener)


async def open_flat(
    graph: Graph,
    filename: str | None,
    flat: FlatOptions,
    *,
    parent: Node | None = None,
    role: Role | None = None,
    parent_driver: type[DriverInterface[Node]] | None = None,
    parse_filename: bool = True,
    more: Mapping[str, Any] | None = None,
    active: bool = True,
    aio: str | None = None,
    as_protocol: bool = False,
) -> Node:
    """Open a node from a file name and options of a command line (``bdrv_open_inherit``).

    :param flat: they are used up
    :param parent: the node inside whose options it is defined, which it takes from what it was
        not given
    :param role: what it is to be for the parent
    :param parent_driver: that of the parent; None while nobody knows
    :param parse_filename: whether the file name may begin with a protocol
    :param more: options that no command line can give, such as a backing file that is opened later
    :param active: whether it is active where neither the options nor a parent say
    :param aio: how a file at the bottom is read and written, if it does not say
    :param as_protocol: whether no image format is looked for, where no driver is named
    :raises QmpError: QEMU's texts; nothing is left open then
    """
    services = graph.services
    if parse_filename:
        filename = join_json(flat, filename, services.parse_json)
    is_backing = role is not None and bool(role & COW)
    common = read_common(flat)
    if (name := flat.text("driver")) in services.manners.unknown_drivers:
        raise GenericError(f"Unknown driver '{name}'")
    inherited = {} if parent is None else NodeOptions.inside(common, parent, backing=is_backing)
    driver = fill_options(
        flat,
        filename,
        services.storage,
        is_protocol=as_protocol or (role is not None and child_is_protocol(parent_driver, role)),
        parse_filename=parse_filename,
    )
    own = NodeOptions({**inherited, **common, **(more or {})}, given=common)
    if driver is not None:
        own = own.changed({"driver": driver.format_name})
    active = active if parent is None else parent.active
    aio = aio if parent is None else parent.flags.aio
    flags = NodeFlags.of_options(own, active=active, aio=aio)
    node = Node(graph, driver or find_driver("raw"), own, flags)
    if "backing" in flat and not flat["backing"] and isinstance(flat["backing"], str | None):
        if flat["backing"] == "":
            services.say.report(_EMPTY_BACKING)
        del flat["backing"]
        node.options = own.changed({"backing": None})
    file = None
    if driver is None or not driver.shape.is_protocol:
        child = flat.child("file", filename, parse_filename=True)
        file = child if child.is_given else None
    return await _open(node, file, flat, active=active)


async def _open(
    node: Node,
    file_options: str | Mapping[str, Any] | ChildOptions | None,
    flat: FlatOptions | None = None,
    *,
    active: bool,
    whole: bool = True,
    opener: Opener | None = None,
) -> Node:
    """Open a node, which is held meanwhile: it has a name, so that what is below may refer to it.

    :param flat: options that only the driver can read
    :param active: whether the file is, for what the options say of that is not known yet
    """
    node.hold()
    try:
        await _open_held(node, file_options, flat, active=active, whole=whole, opener=opener)
    finally:
        node.unhold()
    return node


async def _open_held(
    node: Node,
    file_options: str | Mapping[str, Any] | ChildOptions | None,
    flat: FlatOptions | None,
    *,
    active: bool,
    whole: bool,
    opener: Opener | None,
) -> None:
    """Open the file below, then the driver, then the backing file."""
    graph, flags = node.graph, node.flags
    file: Node | None = None
    backend: FileBackend | None = None
    try:
        if file_options is not None:
            if flat is not None and not isinstance(file_options, str):
                # A child inherits what is malformed, and it is the first to read it.
                FlatOptions(flat).take(INHERITED)
            if flags.active != active:
                node.flags = flags._replace(active=active)
            file = await open_reference(graph, file_options, node, role=IMAGE, undecided=True)
            node.flags = flags
            if whole:
                coming = FileBackend(file)
                await coming.come()
                backend = coming
            if flat is not None:
                flat["file"] = file.node_name
        if "driver" not in node.options:
            node.driver_class, node.options = await find_driver_out(file, node.options)
        await open_driver(node, file, flat, opener or node.driver_class.open)
    except BaseException:
        if file is not None:
            if backend is not None:
                await backend.drain()
                async with standstill(graph):
                    await backend.go()
                    await unref(file)
            else:
                await unref(file)
        await close_unopened(node)
        raise
    try:
        if backend is not None:
            await backend.drain()
            await backend.go()
        own = node.options if flat is None else _with_backing(node, flat)
        await node.driver.open_backing(own)
        empty = [name for name in _CONTAINERS if own.given.get(name) in _EMPTY]
        left = member_order(empty) if flat is None else flat.order()
        check_all_used(node.driver_class, left)
        node.options = node.options.without_children()
    except BaseException:
        if file is not None and "file" not in node.children:
            await unref(file)
        await node.driver.close()
        await close_unopened(node)
        raise


def _with_backing(node: Node, flat: FlatOptions) -> NodeOptions:
    """The options with those of the backing file.

    :raises GenericError: there can be none
    """
    own = node.options
    if "backing" in own and own["backing"] is None:
        return own
    child = flat.child("backing")
    if not child.is_given:
        return own
    if not node.driver_class.capabilities.backing:
        raise GenericError("Driver doesn't support backing files")
    return own.changed({"backing": child})


async def open_reference(
    graph: Graph,
    reference: str | Mapping[str, Any] | ChildOptions,
    parent: Node,
    *,
    role: Role = DATA,
    undecided: bool = False,
) -> Node:
    """A child for `parent`: the node named, or a new one from its options.

    :param role: what it is to be
    :param undecided: whether nobody knows yet of which format the parent is
    :raises QmpError: QEMU's texts; nothing is left open then
    """
    if isinstance(reference, ChildOptions):
        driver = None if undecided else parent.driver_class
        return await _open_from_flat(graph, reference, parent, role, driver)
    if isinstance(reference, str):
        return graph.lookup_device_or_node(reference, reference)
    options = NodeOptions.inside(reference, parent, backing=bool(role & COW))
    child = await open_node(graph, options, active=parent.active)
    child.follow(parent)
    return child


async def _open_from_flat(
    graph: Graph,
    given: ChildOptions,
    parent: Node,
    role: Role,
    driver: type[DriverInterface[Node]] | None,
) -> Node:
    """What ``bdrv_open_child_bs`` does."""
    if not given.is_given:
        raise GenericError(f'A block device must be specified for "{given.name}"')
    if given.reference is not None:
        if given.filename is not None or given.options:
            raise GenericError(
                "Cannot reference an existing block device with additional options"
                " or a new filename"
            )
        return graph.lookup_device_or_node(given.reference, given.reference)
    child = await open_flat(
        graph,
        given.filename,
        given.options,
        parent=parent,
        role=role,
        parent_driver=driver,
        parse_filename=given.parse_filename,
        more=given.more,
    )
    child.follow(parent)
    return child


async def open_child(
    node: Node,
    name: str,
    reference: str | Mapping[str, Any] | ChildOptions,
    *,
    role: Role = DATA,
) -> Node:
    """Give `node` a child: an existing node by name, or a new one from its options.

    :param role: what it holds, see `qmpd.block.permission_bits`
    :raises QmpError: it cannot be opened, or its other parents object
    """
    child = await open_reference(node.graph, reference, node, role=role)
    async with write_lock(node.graph):
        try:
            attach_child(node, name, child, role)
        except BaseException:
            if child is not node:
                await unref(child)
            raise
    return child
