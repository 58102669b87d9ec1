"""Adding exports of any type (QEMU's blk_exp_add): what all types check, and in which order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qmpd.errors import GenericError, NotServed
from qmpd.export.nbd_control import create_nbd

if TYPE_CHECKING:
    from qmpd.export.host import ExportHost


async def add_export(host: ExportHost, options: Mapping[str, Any]) -> None:
    """Export a node.

    :param options: BlockExportOptions, plain JSON values
    :raises QmpError: QEMU's texts
    """
    if options["type"] == "nbd":
        _add_nbd(host, options)
        return
    exports = host.exports
    exports.check_id(options["id"])
    host.graph.lookup_device_or_node(None, options["node-name"])
    if options["type"] == "fuse":
        try:
            os.stat(options["mountpoint"])
        except OSError as error:
            raise GenericError(
                f"Failed to stat '{options['mountpoint']}': {os.strerror(error.errno or 0)}"
            ) from None
    raise NotServed(f"Exports of type '{options['type']}' are not served by qmpd")


def _add_nbd(host: ExportHost, options: Mapping[str, Any]) -> None:
    exports = host.exports
    exports.check_id(options["id"])
    node = host.graph.lookup_device_or_node(None, options["node-name"])
    if "iothread" in options and not host.objects.is_a(options["iothread"], "iothread"):
        raise GenericError(f'iothread "{options["iothread"]}" not found')
    backend = exports.open_backend(
        options["id"],
        node,
        writable=options.get("writable", False),
        writethrough=options.get("writethrough", False),
    )
    try:
        export = create_nbd(host, backend, options)
    except BaseException:
        backend.remove_node()
        raise
    exports.add(export)
