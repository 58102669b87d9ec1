"""The backing file that a header names: where it is, what format it has, opening it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.drivers import NOT_SERVED, find_driver
from qmpd.block.drivers.qcow2.info import text
from qmpd.block.filename import exact_filename, filename
from qmpd.block.opening import check_named_backing
from qmpd.errors import GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.block.drivers.qcow2.state import Qcow2State

LATER: Final = object()
"""As `backing` option: whoever opens the image opens its backing file afterwards."""

PREFIX = "Could not open backing file: "

PROBES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"QFI\xfb\0\0\0\1", "qcow"),
    (0, b"QFI\xfb", "qcow2"),
    (0, b"QED\0", "qed"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vpc"),
    (0, b"LUKS\xba\xbe", "luks"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
)
"""Offset and bytes that tell the format of a file whose format nobody names; else it is raw."""


def has_protocol(name: str) -> bool:
    """Whether a file name begins with a protocol (`nbd:`, `json:`) rather than a path."""
    head, separator, _ = name.partition(":")
    return bool(separator) and "/" not in head


def full_backing_filename(s: Qcow2State) -> str:
    """The header's backing file, seen from where the program is, not from the image's directory.

    :raises GenericError: the name is relative, and the image in something without directories
    """
    name = text(s.header.backing_file or b"")
    if not name or has_protocol(name) or name.startswith("/"):
        return name
    node = s.file
    while node.file is not None:
        node = node.file
    own = exact_filename(node)
    if own is None:
        raise GenericError(f"Cannot generate a base directory for {node.driver.format_name} nodes")
    directory, separator, _ = own.rpartition("/")
    return f"{directory}{separator}{name}"


async def open_backing(s: Qcow2State, options: Mapping[str, Any]) -> None:
    """Open the backing child as the `backing` option says, or else as the header does.

    The files that headers name are opened one below the other from here, each
    image leaving its own to this loop: chains may be long.

    :raises QmpError: QEMU's text
    """
    if "backing" in options:
        reference = options["backing"]
        if reference is not None and reference is not LATER:
            await _open(s, reference, named=bool(s.header.backing_file))
        return
    images = []
    try:
        while s.header.backing_file:
            images.append(s.node)
            await _open_named(s)
            backing = s.backing
            below = None if backing is None else getattr(backing.driver, "state", None)
            if below is None:
                break
            s = below
    except QmpError as error:
        raise error.prefixed(PREFIX * (len(images) - 1)) from error
    for node in reversed(images):
        if node.backing is not None:
            node.driver.auto_backing_file = filename(node.backing)


async def _open(s: Qcow2State, reference: str | Mapping[str, Any], *, named: bool = False) -> None:
    try:
        if named and not isinstance(reference, str):
            check_named_backing(reference)
        await s.node.open_child("backing", reference, backing=True)
    except QmpError as error:
        raise error.prefixed(PREFIX) from error


async def _open_named(s: Qcow2State) -> None:
    """Open the backing file that the header names, but not what that one stands on."""
    try:
        child = _protocol_options(full_backing_filename(s))
    except QmpError as error:
        raise error.prefixed(PREFIX) from error
    if not s.header.backing_format:
        await _open_probed(s, child)
        return
    await _open_image(s, text(s.header.backing_format), child)


async def _open_image(s: Qcow2State, driver: str, file: str | Mapping[str, Any]) -> None:
    options: dict[str, Any] = {"driver": driver, "file": file}
    if driver == "qcow2":
        options["backing"] = LATER
    await _open(s, options)
    if driver == "qcow2" and s.backing is not None:
        del s.backing.options["backing"]


def _protocol_options(name: str) -> dict[str, Any]:
    """Options of the protocol node of a file name."""
    if name.startswith("json:"):
        options = json.loads(name[len("json:") :])
        if not isinstance(options, dict):
            raise GenericError("Invalid JSON object given")
        return options
    if has_protocol(name):
        protocol = name.partition(":")[0]
        if protocol in NOT_SERVED:
            find_driver(protocol)
        if protocol != "file":
            raise GenericError(f"Unknown protocol '{protocol}'")
        name = name[len("file:") :]
    return {"driver": "file", "filename": name}


async def _open_probed(s: Qcow2State, child: Mapping[str, Any]) -> None:
    """Open a backing file without a named format by what is in it."""
    graph = s.node.graph
    try:
        file = await graph.open({"read-only": True, **child})
    except QmpError as error:
        raise error.prefixed(PREFIX) from error
    try:
        await _open_image(s, probe(await file.pread(0, 2048)), file.node_name)
    finally:
        await graph.unref(file)


def probe(head: bytes) -> str:
    """The format of a file that begins with `head`."""
    for offset, magic, driver in PROBES:
        if head[offset : offset + len(magic)] == magic:
            return driver
    return "raw"
