"""Adding exports of any type: the checks that all types share (``blk_exp_add``)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.change.activation import activate
from qmpd.block.change.aio_context import try_change
from qmpd.block.io.backends import find_backend
from qmpd.errors import GenericError, NotServed
from qmpd.export.nbd.create import create_nbd
from qmpd.export.vhost_user.export import MIN_BLOCK, check_block_size, create_vhost_user

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.model.node import Node
    from qmpd.export.exports import BlockExport
    from qmpd.export.machine import ExportingMachine

    Create = Callable[[ExportingMachine, BlockBackend, Mapping[str, Any]], BlockExport]


async def add_export(machine: ExportingMachine, options: Mapping[str, Any]) -> None:
    """Export a node.

    :param options: BlockExportOptions, plain JSON values
    :raises QmpError: QEMU's texts
    """
    exports = machine.exports
    exports.check_id(options["id"])
    thread = options.get("iothread")
    fixed = options.get("fixed-iothread", False)
    if fixed and isinstance(thread, list):
        raise GenericError("Cannot use fixed-iothread for a multi-threaded export")
    node = machine.graph.lookup_device_or_node(None, options["node-name"])
    writable = options.get("writable", False)
    if writable and node.read_only:
        raise GenericError("Cannot export read-only node as writable")
    if isinstance(thread, list):
        _check_iothreads(machine, thread, options["type"])
    elif thread is not None:
        await _move_to_iothread(machine, node, thread, fixed=fixed)
    allow_inactive = options.get("allow-inactive", False)
    if allow_inactive and options["type"] != "nbd":
        raise GenericError("Export type does not support inactive exports")
    if not allow_inactive:
        await activate(node)
    backend = await exports.open_backend(
        node,
        writable=writable,
        writethrough=options.get("writethrough", False),
        allow_inactive=allow_inactive,
    )
    backend.follows_node = not fixed
    try:
        export = _CREATE[options["type"]](machine, backend, options)
    except BaseException:
        await backend.close()
        raise
    exports.add(export)


def _check_iothreads(machine: ExportingMachine, names: Sequence[str], kind: str) -> None:
    """Look for the iothreads that are to serve a node together, which only fuse takes.

    :raises GenericError: there are none, one is not there, or the export does not take them
    """
    if not names:
        raise GenericError("The set of I/O threads must not be empty")
    for name in names:
        if machine.objects.iothread(name) is None:
            raise GenericError(f'iothread "{name}" not found')
    if kind != "fuse":
        shown = "NBD" if kind == "nbd" else kind
        raise GenericError(f"{shown} export does not support multi-threading")


async def _move_to_iothread(
    machine: ExportingMachine, node: Node, name: str, *, fixed: bool
) -> None:
    """Let an iothread serve the node that is to be exported.

    :param fixed: whether it must be this one; otherwise the node may stay where it is
    :raises GenericError: there is no such iothread, or the node cannot move there, but must
    """
    thread = machine.objects.iothread(name)
    if thread is None:
        raise GenericError(f'iothread "{name}" not found')
    try:
        await try_change(node, thread.context)
    except GenericError:
        if fixed:
            raise


async def add_nbd_export(
    machine: ExportingMachine,
    device: str,
    *,
    name: str | None = None,
    writable: bool = False,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Export a device or node by NBD, in the words of before block-export-add.

    :param device: either's name, and the export's where `name` is None
    :param more: further options of the export
    :raises QmpError: QEMU's texts
    """
    node = machine.graph.lookup_device_or_node(device, device)
    name = device if name is None else name
    options: dict[str, Any] = {
        "type": "nbd",
        "id": name,
        "node-name": node.node_name,
        "name": name,
        "writable": writable and not node.read_only,
    }
    await add_export(machine, options | dict(more))
    drive = find_backend(machine.graph, device)
    if drive is not None:
        machine.exports.close_with(machine.exports.find(name), drive)


def _create_fuse(
    machine: ExportingMachine, _: BlockBackend, options: Mapping[str, Any]
) -> BlockExport:
    mountpoint = options["mountpoint"]
    try:
        mode = machine.graph.services.storage.mode(mountpoint)
    except OSError as error:
        raise GenericError(
            f"Failed to stat '{mountpoint}': {os.strerror(error.errno or 0)}"
        ) from None
    if not stat.S_ISREG(mode):
        raise GenericError(f"'{mountpoint}' is not a regular file")
    if not _may_use(machine, "/dev/fuse"):
        raise GenericError("Failed to mount FUSE session to export")
    raise NotServed("Exports of type 'fuse' are not served by qmpd")


def _may_use(machine: ExportingMachine, device: str) -> bool:
    """Whether there is a device of the host, which images in memory have nothing to do with."""
    storage = machine.graph.services.storage
    return storage.reads_host and storage.host.usable(device)


def _create_vduse(
    machine: ExportingMachine, _: BlockBackend, options: Mapping[str, Any]
) -> BlockExport:
    if options.get("num-queues", 1) == 0:
        raise GenericError("num-queues must be greater than 0")
    size = options.get("queue-size", 256)
    if not 2 < size <= 1024 or size & (size - 1):
        raise GenericError("queue-size is invalid")
    check_block_size(options.get("logical-block-size", MIN_BLOCK))
    if not _may_use(machine, "/dev/vduse/control"):
        raise GenericError("failed to create vduse device")
    raise NotServed("Exports of type 'vduse-blk' are not served by qmpd")


_CREATE: Final[Mapping[str, Create]] = MappingProxyType(
    {
        "nbd": create_nbd,
        "vhost-user-blk": create_vhost_user,
        "fuse": _create_fuse,
        "vduse-blk": _create_vduse,
    }
)
"""The function that makes an export, by type."""
