"""Finding and opening the backing file that a header names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from qmpd.block.change.closing import unref
from qmpd.block.change.edges import attach_child
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.opening import check_named_backing, open_reference
from qmpd.block.drivers.formats.qcow2.info import text
from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.block.model.filename import filename
from qmpd.block.model.flat_options import ChildOptions, FlatOptions
from qmpd.block.model.protocol_name import has_protocol
from qmpd.block.permission_bits import COW
from qmpd.errors import QmpError

log = logging.getLogger("qmpd.block.qcow2")


@dataclass
class Later:
    """As `backing` option: whoever opens the image opens its backing file afterwards.

    :param due: whether that is still to be done: the image did not say otherwise
    """

    due: bool = False


PREFIX = "Could not open backing file: "


def full_backing_filename(s: Qcow2State) -> str:
    """The header's backing file name, relative to the image (bdrv_get_full_backing_filename).

    :raises GenericError: the name is relative, and the image has no directory
    """
    return absolute_filename(s, text(s.header.backing_file or b""))


def absolute_filename(s: Qcow2State, name: str) -> str:
    """`name`, resolved as if the header contained it.

    :raises GenericError: it is relative, and the image has no directory
    """
    if not name or has_protocol(name) or name.startswith("/"):
        return name
    node = s.file_node
    while (below := node.primary) is not None:
        node = below
    return node.driver.directory() + name


def backing_members(s: Qcow2State) -> dict[str, Any]:
    """Members of ImageInfo for what the header names, whatever the `backing` child is."""
    if not s.header.backing_file:
        return {}
    members = {"backing-filename": text(s.header.backing_file)}
    try:
        members["full-backing-filename"] = full_backing_filename(s)
    except QmpError as error:
        log.debug("%s", error.desc)
    if s.header.backing_format:
        members["backing-filename-format"] = text(s.header.backing_format)
    return members


async def open_backing(s: Qcow2State, options: Mapping[str, Any]) -> None:
    """Open the backing child that the `backing` option or else the header names.

    Files named by headers are opened in a loop, not each from within the opening of the
    one above: chains may be long.

    :raises QmpError: with QEMU's text
    """
    given = options.get("backing")
    if isinstance(given, ChildOptions):
        await _open_named(s, given)
        return
    if isinstance(given, Later):
        given.due = True
        return
    if "backing" in options:
        if given is not None:
            await _open(s, given, named=bool(s.header.backing_file))
        return
    images = []
    try:
        while s.header.backing_file:
            images.append(s.node)
            more = {"backing": Later()}
            await _open_named(s, ChildOptions("backing", None, None, FlatOptions(), True, more))
            below = None if s.backing is None else s.backing.driver.layer
            if not isinstance(below, Qcow2State) or not more["backing"].due:
                break
            s = below
    except QmpError as error:
        raise error.prefixed(PREFIX * (len(images) - 1)) from error
    for node in reversed(images):
        if node.backing is not None:
            node.driver.auto_backing_file = filename(node.backing)


async def _open(
    s: Qcow2State,
    reference: str | Mapping[str, Any] | ChildOptions,
    *,
    named: bool = False,
) -> None:
    try:
        if named and isinstance(reference, dict):
            check_named_backing(reference)
        child = await open_reference(s.node.graph, reference, s.node, role=COW)
    except QmpError as error:
        raise error.prefixed(PREFIX) from error
    try:
        async with write_lock(s.node.graph):
            attach_child(s.node, "backing", child, COW)
            s.node.refresh_limits()
    except BaseException:
        if child is not s.node:
            await unref(child)
        raise


async def _open_named(s: Qcow2State, given: ChildOptions) -> None:
    """Open the backing file that the header names, unless `given` says which (or no file)."""
    options = given.options
    if given.reference is None:
        if "file.filename" not in options:
            given = replace(given, filename=full_backing_filename(s) or None, parse_filename=True)
        backing_format = text(s.header.backing_format or b"")
        if backing_format:
            options.setdefault("driver", backing_format)
    await _open(s, given)
