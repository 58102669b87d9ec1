"""Commands block-commit and block-stream of schema module block-core.

Each job is imported by the first command that starts one: whoever commits does not wait for what
streams and mirrors need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.block.change.chain import find_backing_image, find_base
from qmpd.block.model.blockers import Op
from qmpd.block.model.filename import filename
from qmpd.block.model.graph import lookup_root
from qmpd.block.permission_bits import WRITE
from qmpd.errors import DeviceNotFound, GenericError, QmpError
from qmpd.jobs.core.options import JobOptions, MergeOptions
from qmpd.jobs.core.states import OnError
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node
    from qmpd.profile.models.block_core import BlockCommitArguments, BlockStreamArguments


def _merge_options(arguments: BlockCommitArguments | BlockStreamArguments) -> MergeOptions:
    return MergeOptions(
        JobOptions.read(arguments),
        OnError(arguments.on_error or "report"),
        arguments.backing_file,
        bool(arguments.backing_mask_protocol),
    )


def _commit_root(graph: Graph, device: str) -> Node:
    """The active layer; clients probe for the class of the error."""
    try:
        return lookup_root(graph, device)
    except QmpError:
        try:
            graph.lookup(device)
        except QmpError:
            raise DeviceNotFound(f"Device '{device}' not found") from None
        raise


def _in_chain(top: Node, name: str) -> Node:
    node = top.graph.lookup_device_or_node(None, name)
    if not top.chain_contains(node):
        raise GenericError(f"'{name}' is not in this backing file chain")
    return node


def _commit_top(active: Node, arguments: BlockCommitArguments) -> Node:
    name, node_name = arguments.top, arguments.top_node
    if name is not None and node_name is not None:
        raise GenericError("'top-node' and 'top' are mutually exclusive")
    if node_name is not None:
        return _in_chain(active, node_name)
    if name is None or filename(active) == name:
        return active
    found = find_backing_image(active, name)
    if found is None:
        raise GenericError(f"Top image file {name} not found")
    return found


def _commit_base(top: Node, arguments: BlockCommitArguments) -> Node:
    name, node_name = arguments.base, arguments.base_node
    if name is not None and node_name is not None:
        raise GenericError("'base-node' and 'base' are mutually exclusive")
    if node_name is not None:
        return _in_chain(top, node_name)
    if name is None:
        return find_base(top)
    found = find_backing_image(top, name)
    if found is None:
        raise GenericError(f"Can't find '{name}' in the backing chain")
    return found


async def block_commit(context: Context, arguments: BlockCommitArguments) -> None:
    """Merge images of a chain into one below them."""
    machine = context.machine
    graph = machine.graph
    active = _commit_root(graph, arguments.device)
    active.check_operation(Op.COMMIT_SOURCE)
    top = _commit_top(active, arguments)
    base = _commit_base(top, arguments)
    end = base.filter_or_backing
    node: Node | None = top
    while node is not None and node is not end:
        node.check_operation(Op.COMMIT_TARGET)
        node = node.filter_or_backing
    if top is base:
        raise GenericError("cannot commit an image into itself")
    options = _merge_options(arguments)
    is_active = top.skip_filters() is active.skip_filters()
    if is_active or top.cumulative_permissions()[0] & WRITE:
        if arguments.backing_file is not None:
            why = "is the active layer" if is_active else "has a writer on it"
            raise GenericError(f"'backing-file' specified, but 'top' {why}")
        job = options.job
        if job.job_id is None:
            job = job._replace(job_id=active.device_name)
        from qmpd.jobs.mirror.start import start_active_commit

        await start_active_commit(machine.jobs, top, base, job, options.on_error)
        return
    overlay = active.overlay_of(top)
    if overlay is not None:
        overlay.check_operation(Op.COMMIT_TARGET)
    from qmpd.jobs.merge.commit import start_commit

    await start_commit(machine.jobs, active, top, base, options)


def _stream_ends(
    graph: Graph, node: Node, arguments: BlockStreamArguments
) -> tuple[Node | None, Node | None]:
    """The base and the bottom, at most one of them given."""
    device = arguments.device
    base: Node | None = None
    if arguments.base is not None:
        base = find_backing_image(node, arguments.base)
        if base is None:
            raise GenericError(f"Can't find '{arguments.base}' in the backing chain")
    if arguments.base_node is not None:
        base = graph.lookup_device_or_node(None, arguments.base_node)
        if base is node or not node.chain_contains(base):
            raise GenericError(f"Node '{arguments.base_node}' is not a backing image of '{device}'")
    if arguments.bottom is None:
        return base, None
    bottom = graph.lookup_device_or_node(None, arguments.bottom)
    if bottom.driver.shape.is_filter:
        raise GenericError(
            f"Node '{arguments.bottom}' is a filter, use a non-filter node as 'bottom'"
        )
    if not node.chain_contains(bottom):
        raise GenericError(f"Node '{arguments.bottom}' is not in a chain starting from '{device}'")
    return None, bottom


async def block_stream(context: Context, arguments: BlockStreamArguments) -> None:
    """Copy what lies below an image into it."""
    machine = context.machine
    if machine.profile.rules.holds("streams-begin-with-the-device"):
        machine.graph.lookup(arguments.device)
    given = [name for name in ("base", "base-node", "bottom") if name in context.raw]
    for first, second in (("base", "base-node"), ("base", "bottom"), ("bottom", "base-node")):
        if first in given and second in given:
            raise GenericError(f"'{first}' and '{second}' cannot be specified at the same time")
    node = machine.graph.lookup(arguments.device)
    base, bottom = _stream_ends(machine.graph, node, arguments)
    end = base if bottom is None else bottom.filter_or_backing
    current: Node | None = node
    while current is not None and current is not end:
        current.check_operation(Op.STREAM)
        current = current.filter_or_backing
    if base is None and arguments.backing_file is not None:
        raise GenericError("backing file specified, but streaming the entire chain")
    options = _merge_options(arguments)
    if machine.jobs.manners.streams_have_no_filter:
        from qmpd.jobs.merge.stream_in_place import start_stream_in_place

        if options.backing_file is None:
            options = options._replace(backing_file=arguments.base)
        await start_stream_in_place(machine.jobs, node, base, options)
        return
    from qmpd.jobs.merge.stream import start_stream

    await start_stream(machine.jobs, node, base, bottom, options)


HANDLERS: Final[Handlers] = {
    "block-commit": block_commit,
    "block-stream": block_stream,
}
