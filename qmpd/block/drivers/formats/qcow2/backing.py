"""Finding and opening the backing file that a header names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from qmpd.block.change.closing import unref
from qmpd.block.change.edges import attach_child
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.opening import check_named_backing, open_reference
from qmpd.block.change.probe import has_protocol, protocol_options
from qmpd.block.drivers.formats.qcow2.info import text
from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.block.model.filename import filename
from qmpd.block.permission_bits import COW
from qmpd.errors import QmpError

LATER: Final = object()
"""As `backing` option: whoever opens the image opens its backing file afterwards."""

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
    node = s.file
    while (below := node.primary) is not None:
        node = below
    return node.driver.directory() + name


async def open_backing(s: Qcow2State, options: Mapping[str, Any]) -> None:
    """Open the backing child that the `backing` option or else the header names.

    Files named by headers are opened in a loop, not each from within the opening of the
    one above: chains may be long.

    :raises QmpError: with QEMU's text
    """
    given = options.get("backing")
    if isinstance(given, Mapping) and "driver" not in given:
        await _open_named(s, given)
        return
    if "backing" in options:
        if given is not None and given is not LATER:
            await _open(s, given, named=bool(s.header.backing_file))
        return
    images = []
    try:
        while s.header.backing_file:
            images.append(s.node)
            await _open_named(s)
            backing = s.backing
            below = None if backing is None else backing.driver.layer
            if not isinstance(below, Qcow2State):
                break
            s = below
    except QmpError as error:
        raise error.prefixed(PREFIX * (len(images) - 1)) from error
    for node in reversed(images):
        if node.backing is not None:
            node.driver.auto_backing_file = filename(node.backing)


async def _open(
    s: Qcow2State,
    reference: str | Mapping[str, Any],
    *,
    named: bool = False,
) -> None:
    try:
        if named and not isinstance(reference, str):
            check_named_backing(reference)
        child = await open_reference(s.node.graph, reference, s.node, backing=True)
    except QmpError as error:
        raise error.prefixed(PREFIX) from error
    try:
        async with write_lock(s.node.graph):
            attach_child(s.node, "backing", child, COW)
    except BaseException:
        if child is not s.node:
            await unref(child)
        raise


async def _open_named(s: Qcow2State, more: Mapping[str, Any] | None = None) -> None:
    """Open the backing file that the header names, but not the backing file of that one.

    :param more: further options for its node; with these, its own backing file is opened, too
    """
    name = full_backing_filename(s)
    try:
        child = protocol_options(name)
    except QmpError as error:
        raise error.prefixed(PREFIX) from error
    backing_format = text(s.header.backing_format or b"")
    if name.startswith("json:") and (backing_format or "driver" in child):
        # These are the options of the whole image, of which the format is one.
        options = child | ({"driver": backing_format} if backing_format else {})
        await _open(s, options | dict(more or {}))
    else:
        await _open_image(s, backing_format, child, more)


async def _open_image(
    s: Qcow2State,
    driver: str,
    file: str | Mapping[str, Any],
    more: Mapping[str, Any] | None,
) -> None:
    """Open a backing file.

    :param driver: its format; "" to find it out
    """
    options: dict[str, Any] = {"driver": driver, "file": file} if driver else {"file": file}
    if more is not None:
        await _open(s, options | dict(more))
        return
    if driver in ("", "qcow2"):
        options["backing"] = LATER
    await _open(s, options)
    if s.backing is not None and s.backing.options.get("backing") is LATER:
        s.backing.options = s.backing.options.without("backing")
