"""Command blockdev-reopen: other options for nodes that are open, all of them or none.

Every node is given its whole set of options: what is left out gets its default again.  Nodes
that were defined inside another one follow it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.qdict import QDict
from qmpd.block.change.drain import drained, subtree
from qmpd.block.change.graph_lock import standstill, write_lock
from qmpd.block.change.opening_driver import check_detect_zeroes
from qmpd.block.change.replace import GraphChange
from qmpd.block.manners import GraphLock
from qmpd.block.model.filename import flat_options
from qmpd.block.model.flags import NodeFlags, ReopenState
from qmpd.block.model.node_options import NodeOptions
from qmpd.block.permission_bits import COW, DATA, FILTERED, PRIMARY, Role
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node

COMMON: Final = frozenset(
    {
        *("driver", "node-name", "discard", "cache", "read-only", "auto-read-only"),
        "detect-zeroes",
    }
)
"""Options of all nodes that can be changed, or get their default again."""


@dataclass(kw_only=True)
class Step(ReopenState):
    """One node in the queue."""

    options: NodeOptions
    node: Node
    backing_missing: bool


def _set_flags(node: Node, flags: NodeFlags) -> None:
    node.flags = flags


async def blockdev_reopen(graph: Graph, given: Sequence[Mapping[str, Any]]) -> None:
    """Command blockdev-reopen.

    :param given: the options of each node, as blockdev-add takes them
    :raises QmpError: QEMU's texts; nothing has changed then
    """
    queue: list[Step] = []
    for options in given:
        name = options.get("node-name")
        if name is None:
            raise GenericError("node-name not specified")
        node = graph.find_node(name)
        if node is None:
            raise GenericError(f"Failed to find node with node-name='{name}'")
        _enqueue(queue, node, NodeOptions(options))
    await reopen_multiple(graph, queue)


async def set_read_only(node: Node, read_only: bool) -> None:
    """Make a node read-only, or writable; children that took its mode follow.

    :raises QmpError: the driver cannot, or somebody needs to write
    """
    if read_only == node.read_only:
        return
    graph = node.graph
    queue: list[Step] = []
    options = node.options.changed({"read-only": read_only})
    _enqueue(queue, node, options, keep_old=True)
    await reopen_multiple(graph, queue, keep_old=True)


async def reopen_multiple(graph: Graph, queue: Sequence[Step], *, keep_old: bool = False) -> None:
    """Change what is in the queue, while it is drained; see `reopen_nodes`."""
    nodes = [step.node for step in queue]
    if graph.services.manners.graph_lock is GraphLock.NONE:
        nodes = subtree(nodes)
    async with standstill(graph):
        await drained(graph, nodes, reopen_nodes(graph, queue, keep_old=keep_old))


def _enqueue(
    queue: list[Step],
    node: Node,
    options: NodeOptions,
    *,
    keep_old: bool = False,
) -> None:
    """Put `node` into the queue, with those that were defined inside it."""
    state = Step(
        node=node,
        options=options,
        flags=NodeFlags.of_options(
            options,
            active=node.active if keep_old else True,
            # The one option that QEMU leaves as it is.
            unmap=node.unmap,
            aio=node.flags.aio,
        ),
        before=node.flags,
        backing_missing=(node.backing is not None or bool(node.driver.auto_backing_file))
        and "backing" not in options
        and not keep_old,
    )
    present = next((i for i, other in enumerate(queue) if other.node is node), None)
    if present is None:
        queue.append(state)
    else:
        queue[present] = state
    for name, edge in node.children.items():
        child = edge.node
        if child.inherits_from is not node:
            continue
        inline: Mapping[str, Any] = {}
        keep_child = keep_old
        if name in options:
            reference = options[name]
            if isinstance(reference, Mapping):
                inline = reference if not keep_old else {}
            elif reference != child.node_name:
                continue
            else:
                keep_child = True
        backing = bool(edge.role & COW)
        if keep_child:
            child_options = child.options.under(options, backing=backing)
        else:
            # What an entry of its own has said before holds as well.
            before = next((step.options.given for step in queue if step.node is child), _NOTHING)
            child_options = NodeOptions.inside({**before, **inline}, state.flags, backing=backing)
        _enqueue(queue, child, child_options, keep_old=keep_child)


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


async def reopen_nodes(graph: Graph, queue: Sequence[Step], *, keep_old: bool = False) -> None:
    """Change what is in the queue, all or nothing (``bdrv_reopen_multiple``).

    :param keep_old: the options are the old ones, but for the mode
    :raises QmpError: QEMU's texts; nothing has changed then
    """
    change = GraphChange()
    prepared: list[Step] = []
    try:
        for state in queue:
            await _flush(state.node)
        for state in queue:
            prepared.append(state)
            await _prepare(graph, state, change)
        for state in queue:
            state.node.reopening = state.node.writable
            _set_flags(state.node, state.flags)
            change.undo_with(partial(_set_flags, state.node, state.before))
            change.touch(state.node)
        change.settle()
    except BaseException:
        async with write_lock(graph, brief=True):
            change.undo()
        for state in reversed(prepared):
            await state.node.driver.reopen_abort(state)
        raise
    finally:
        for state in queue:
            state.node.reopening = False
    for state in reversed(queue):
        before = state.node.options
        after = state.options if keep_old else state.options.after_reopen(before)
        state.node.options = after.without_children()
        await state.node.driver.reopen_commit(state)
    for state in reversed(queue):
        state.node.refresh_length()
        state.node.refresh_limits()
    async with write_lock(graph, brief=True):
        pass
    await change.commit()


async def _flush(node: Node) -> None:
    """Write out what `node` keeps back.

    :raises GenericError: it cannot be written
    """
    try:
        await node.flush()
    except BlockIOError as error:
        raise GenericError(f"Error flushing drive: {error.desc}") from None


async def _prepare(graph: Graph, state: Step, change: GraphChange) -> None:
    node, options = state.node, state.options
    _check_flags(state)
    driver = node.driver
    if not driver.capabilities.reopen:
        raise GenericError(
            f"Block format '{driver.format_name}' used by node '{node.node_name}' does not support"
            " reopening files"
        )
    _check_reset(state)
    await driver.reopen_prepare(state)
    if driver.capabilities.backing and state.backing_missing:
        raise GenericError(f"backing is missing for '{node.node_name}'")
    await _change_child(graph, state, "backing", change)
    await _change_child(graph, state, "file", change)
    flat, old = _flattened(node, options), _flattened(node, node.options)
    for name, value in QDict(flat).items():
        _check_unchanged(node, name, value, old.get(name))


def _check_flags(state: Step) -> None:
    flags, node = state.flags, state.node
    check_detect_zeroes(flags)
    if node.copy_on_read and flags.read_only:
        raise GenericError(f"Can't set node '{node.node_name}' to r/o with copy-on-read enabled")


def _check_reset(state: Step) -> None:
    node = state.node
    given = _flattened(node, state.options)
    for name in QDict(_flattened(node, node.options)):
        # QEMU forgets that it was given "active", which it then ignores.
        known = name in given or name in state.options or name in COMMON or name in node.children
        if known and name != "active":
            continue
        if name not in ("backing", *node.driver.shape.mutable_options):
            raise GenericError(f"Option '{name}' cannot be reset to its default value")


async def _change_child(graph: Graph, state: Step, name: str, change: GraphChange) -> None:
    """Replace a child by another node, where the options say so."""
    node = state.node
    if name not in state.options or isinstance(state.options[name], Mapping):
        return
    reference = state.options[name]
    edge = node.children.get(name)
    old = None if edge is None else edge.node
    new = None if reference is None else graph.lookup_device_or_node(None, reference)
    if old is new:
        return
    if old is not None:
        if old.skip_implicit_filters() is new:
            return
        if old.implicit:
            raise GenericError(f"Cannot replace implicit {name} child of {node.node_name}")
    if node.driver.shape.is_filter and old is None:
        raise GenericError(
            f"'{node.node_name}' is a {node.driver.format_name} filter node that does not support"
            f" a {name} child"
        )
    if name == "backing" and not (node.driver.capabilities.backing or node.driver.shape.is_filter):
        raise GenericError(
            f"Driver '{node.driver.format_name}' of node '{node.node_name}' does not support"
            " backing files"
        )
    await drained(graph, [] if old is None else [old], _set_child(node, name, new, change))


async def _set_child(node: Node, name: str, new: Node | None, change: GraphChange) -> None:
    """Let `new` be child `name` of `node` (``bdrv_set_file_or_backing_noperm``).

    :raises GenericError: a job relies on the link, or somebody objects to the new one
    """
    async with write_lock(node.graph, brief=True):
        role = _role(node, name)
        edge = node.children.get(name)
        if edge is not None:
            if edge.frozen:
                raise GenericError(
                    f"Cannot change frozen '{name}' link from '{node.node_name}'"
                    f" to '{edge.node.node_name}'"
                )
            role = edge.role
        change.set_child(node, name, new, role)


def _role(node: Node, name: str) -> Role:
    if name == "backing":
        return FILTERED | PRIMARY if node.driver.shape.is_filter else COW
    return DATA | PRIMARY


def _flattened(node: Node, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as QEMU compares them: of children that follow, none are among them."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        edge = node.children.get(name)
        if name in COMMON or not value or not isinstance(value, Mapping | list):
            flat[name] = value
        elif edge is None or edge.node.inherits_from is not node:
            flat |= flat_options(name, value)
    return flat


def _check_unchanged(node: Node, name: str, value: Any, old: Any) -> None:
    """Refuse another value of an option that cannot be changed."""
    driver = node.driver
    if name == "driver":
        if value != driver.format_name:
            raise GenericError("Cannot change the option 'driver'")
        return
    if name == "node-name":
        if value != old:
            raise GenericError("Cannot change the option 'node-name'")
        return
    if name == "cache" and not value:
        raise GenericError("Cannot change the option 'cache'")
    if name in COMMON or name in ("file", "backing", "active"):
        return
    whole = name.partition(".")[0]
    if whole in driver.shape.mutable_options or whole in driver.shape.needed_options:
        return
    edge = node.children.get(name)
    if edge is not None and (value == edge.node.node_name or isinstance(value, Mapping)):
        return
    if old != value:
        raise GenericError(f"Cannot change the option '{name}'")
