"""Taking images out of a chain, and finding them in it by their names."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING

from qmpd.block.change.closing import release
from qmpd.block.change.drain import drained_begin, drained_end
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.inheritance import inherits
from qmpd.block.change.reopen import set_read_only
from qmpd.block.change.replace import GraphChange
from qmpd.block.model.filename import backing_overridden, filename
from qmpd.block.model.protocol_name import has_protocol
from qmpd.errors import BlockIOError, QmpError

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node


def find_backing_image(node: Node, name: str) -> Node | None:
    """The image below `node` that is called `name`.

    Where the overlay was opened on what its header names, names are paths, seen from the
    overlay's directory; elsewhere only the file name that queries show will do.
    """
    is_protocol = has_protocol(name)
    real_path = node.services.storage.real_path
    current = node.skip_filters()
    while (below := current.backing_chain_next) is not None:
        named = current.driver.named_backing_file
        if backing_overridden(current):
            if name == filename(below):
                return below
        elif is_protocol or has_protocol(named):
            if name == named or name == _full_name(current, named):
                return below
        elif (path := _full_name(current, name)) is not None:
            full = _full_name(current, named)
            if full is not None and real_path(path) == real_path(full):
                return below
        current = below
    return None


def _full_name(node: Node, name: str) -> str | None:
    """`name` seen from where the program is; None where there are no directories."""
    try:
        return node.driver.absolute_filename(name)
    except QmpError:
        return None


def find_base(node: Node) -> Node:
    """The image at the end of the chain, where `node` may be it itself."""
    current = node.skip_filters()
    while (below := current.backing_chain_next) is not None:
        current = below
    return current


async def drop_intermediate(
    graph: Graph, top: Node, base: Node, backing_file: str | None, *, mask_protocol: bool = False
) -> None:
    """Take `top` and all down to `base`, not included, out of the chain.

    The overlay's header names the base then.

    :param backing_file: what it calls it; None for its file name
    :param mask_protocol: whether the format of a protocol node is called raw
    :raises QmpError: somebody objects
    """
    name = filename(base) if backing_file is None else backing_file
    explicit_top = top.skip_implicit_filters()
    follows = inherits(base, explicit_top)
    overlays = [edge.parent_node for edge in top.parents]
    await drained_begin(top, base)
    top.hold()
    base.hold()
    try:
        async with write_lock(graph, brief=True):
            change = GraphChange()
            for edge in list(top.parents):
                if not edge.kind.stays_at_node:
                    change.move(edge, base)
            change.settle()
        for overlay in overlays:
            if overlay is not None:
                await _rename(overlay, name, base, mask_protocol)
        if follows:
            base.follow(explicit_top.inherits_from)
        await change.commit()
    finally:
        drained_end(top, base)
        await release(top)
        await release(base)


async def _rename(overlay: Node, name: str, base: Node, mask_protocol: bool) -> None:
    """Write the new backing file's name into the header of an overlay."""
    was_read_only = overlay.read_only
    try:
        if was_read_only:
            await set_read_only(overlay, False)
        await change_backing_name(overlay, name, base, mask_protocol=mask_protocol)
    except QmpError as error:
        overlay.services.say.report(f"Could not update backing file link: {error.desc}")
    if was_read_only:
        with suppress(QmpError):
            await set_read_only(overlay, True)


async def change_backing_name(
    node: Node, name: str | None, base: Node | None, *, mask_protocol: bool = False
) -> None:
    """Write the name and format of a backing file into a header, where there is one.

    :raises BlockIOError: it failed
    """
    backing_format = None if base is None else base.driver.format_name
    if base is not None and base.driver.shape.is_protocol and mask_protocol:
        backing_format = "raw"
    try:
        await node.driver.change_backing_file(name, backing_format)
    except BlockIOError as error:
        if error.errno != errno.ENOTSUP or node.driver.capabilities.backing:
            raise
