"""Commands on internal snapshots and on the backing file names of headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.block.change.drain import drained
from qmpd.block.change.graph_lock import standstill
from qmpd.block.change.reopen import set_read_only
from qmpd.block.io.disk_snapshots import check_listed, snapshot_holder, snapshot_list
from qmpd.block.model.blockers import Op
from qmpd.block.model.graph import lookup_root
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph


async def delete_internal(
    graph: Graph, device: str, ident: str | None, name: str | None
) -> dict[str, Any]:
    """Command blockdev-snapshot-delete-internal-sync; returns the snapshot's SnapshotInfo.

    :raises QmpError: QEMU's texts
    """
    async with standstill(graph):
        return await _delete_internal(graph, device, ident, name)


async def _delete_internal(
    graph: Graph, device: str, ident: str | None, name: str | None
) -> dict[str, Any]:
    node = lookup_root(graph, device)
    if ident is None and name is None:
        raise GenericError("Name or id must be provided")
    node.check_operation(Op.INTERNAL_SNAPSHOT_DELETE)
    check_listed(node)
    holder = snapshot_holder(node)
    assert holder is not None
    found = next(
        (
            snapshot
            for snapshot in snapshot_list(node)
            if (ident is None or snapshot["id"] == ident)
            and (name is None or snapshot["name"] == name)
        ),
        None,
    )
    if found is None:
        raise GenericError(
            f"Snapshot with id '{'null' if ident is None else ident}' and name"
            f" '{'null' if name is None else name}' does not exist on device '{device}'"
        )
    await drained(graph, [node], holder.driver.snapshot_delete(ident, name))
    return found


async def change_backing_file(
    graph: Graph, device: str, image_node_name: str, backing_file: str
) -> None:
    """Command change-backing-file: another name in the header, nothing else.

    :raises QmpError: QEMU's texts
    """
    node = lookup_root(graph, device)
    image = graph.lookup_device_or_node(None, image_node_name)
    if image.backing_chain_next is None:
        raise GenericError("not allowing backing file change on an image without a backing file")
    node.check_operation(Op.CHANGE)
    if not node.chain_contains(image):
        raise GenericError(f"'{device}' and image file are not in the same chain")
    was_read_only = image.read_only
    if was_read_only:
        await set_read_only(image, False)
    failure: BlockIOError | None = None
    try:
        await image.driver.change_backing_file(backing_file, image.driver.format_name)
    except BlockIOError as error:
        failure = error
    if was_read_only:
        await set_read_only(image, True)
    if failure is not None:
        raise failure.prefixed(f"Could not change backing file to '{backing_file}': ")
