"""Creating an image: a minimal image is written, opened and completed."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.clusters.resize import failed
from qmpd.block.drivers.formats.qcow2.creation.options import CreateOptions
from qmpd.block.drivers.formats.qcow2.header.layout import MAX_BACKING_NAME
from qmpd.block.drivers.formats.qcow2.refcounts.allocation import alloc_clusters
from qmpd.errors import BlockIOError, QmpError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State
    from qmpd.block.model.node import Node


async def write_first_clusters(file: Node, options: CreateOptions) -> None:
    """Write the header and the refcount structures of an empty image into `file`."""
    header, refcounts = options.first_clusters()
    try:
        await file.pwrite(0, header)
    except BlockIOError as error:
        raise failed(error, "Could not write qcow2 header") from error
    try:
        await file.pwrite(options.cluster_size, refcounts)
    except BlockIOError as error:
        raise failed(error, "Could not write refcount table") from error


async def complete_image(s: Qcow2State, options: CreateOptions, data_file: str | None) -> None:
    """Complete the image that `write_first_clusters` began (second half of qcow2_co_create).

    :param s: the open image
    :param data_file: name of the external data file, for the header
    :raises QmpError: with QEMU's text
    """
    try:
        offset = await alloc_clusters(s, 3 * options.cluster_size)
    except BlockIOError as error:
        what = "Could not allocate clusters for qcow2 header and refcount table"
        raise failed(error, what) from error
    if offset:
        raise BlockIOError(errno.EIO, "The first cluster of an empty image is in use")
    s.header.data_file = None if data_file is None else data_file.encode()
    try:
        await s.update_header()
    except BlockIOError as error:
        raise failed(error, "Could not update qcow2 header") from error
    try:
        await s.node.truncate(options.size, exact=False, prealloc=options.preallocation)
    except QmpError as error:
        raise error.prefixed("Could not resize image: ") from error
    if options.backing_file is not None:
        try:
            await change_backing_file(s, options.backing_file, options.backing_format)
        except BlockIOError as error:
            raise failed(
                error,
                f"Could not assign backing file '{options.backing_file}' with format"
                f" '{options.backing_format or '(null)'}'",
            ) from error


async def flush_image(file: Node) -> None:
    """Make the image that has been completed in `file` stable.

    :raises BlockIOError: it cannot be
    """
    try:
        await file.flush()
    except BlockIOError as error:
        raise failed(error, "Could not resize image") from error


async def change_backing_file(s: Qcow2State, name: str | None, backing_format: str | None) -> None:
    """Write another backing file name and format into the header.

    :raises BlockIOError: EINVAL if the name is too long or the image cannot have a backing file,
        ENOSPC if it does not fit into the header
    """
    if name is not None and (s.data_file_raw or len(name.encode()) > MAX_BACKING_NAME):
        raise BlockIOError(errno.EINVAL)
    s.header.backing_file = None if name is None else name.encode("utf-8", "surrogateescape")
    s.header.backing_format = None if backing_format is None else backing_format.encode()
    await s.update_header()
