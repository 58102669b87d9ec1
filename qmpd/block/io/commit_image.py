"""Committing an image into its backing file at once, without a job (HMP's commit)."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from qmpd.block.change.closing import unref
from qmpd.block.change.drain import drained
from qmpd.block.change.insert import change_backing
from qmpd.block.change.opening import open_node
from qmpd.block.change.reopen import set_read_only
from qmpd.block.io.backend import BlockBackend
from qmpd.block.model.blockers import Op
from qmpd.block.permission_bits import (
    ALL,
    CONSISTENT_READ,
    RESIZE,
    WRITE,
    WRITE_UNCHANGED,
    Perm,
)
from qmpd.errors import BlockIOError, GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.block.model.node import Node

_CHUNK: Final = 1 << 20

_READ: Final = CONSISTENT_READ | WRITE_UNCHANGED
"""What the image itself is used for: it is read, and emptied without a change of what it shows."""


async def commit_image(node: Node) -> None:
    """Write what `node` holds into its backing file, and empty it.

    :raises BlockIOError: it cannot be done
    """
    backing = node.backing
    if backing is None:
        raise BlockIOError(errno.ENOTSUP)
    try:
        node.check_operation(Op.COMMIT_SOURCE)
        backing.check_operation(Op.COMMIT_TARGET)
    except GenericError:
        raise BlockIOError(errno.EBUSY) from None
    was_read_only = backing.read_only
    if was_read_only:
        try:
            await set_read_only(backing, False)
        except QmpError:
            raise BlockIOError(errno.EACCES) from None
    try:
        # what is written to the image meanwhile would be lost when it is emptied
        await drained(node.graph, (node,), _commit(node, backing))
    finally:
        if was_read_only:
            with suppress(QmpError):
                await set_read_only(backing, True)


async def _commit(node: Node, backing: Node) -> None:
    filtered = _filtered(node, backing)
    async with _using(node, _READ), filtered, _using(backing, WRITE | RESIZE) as target:
        completions = node.services.loop.completions
        length = node.length
        if length > target.length():
            await target.truncate(length, exact=False)
        offset = 0
        while offset < length:
            allocated, count = await node.is_allocated(offset, min(_CHUNK, length - offset))
            if allocated:
                await target.pwrite(offset, await node.pread(offset, count))
            offset += count
            await completions.rest()
        # Beyond QEMU: what the image holds must be below for good before it is dropped here.
        await target.flush()
        await node.driver.make_empty()
        await node.flush()
        await target.flush()


@asynccontextmanager
async def _using(node: Node, perm: Perm) -> AsyncIterator[BlockBackend]:
    """A backend on `node`; that it cannot be had is reported.

    :raises BlockIOError: EPERM
    """
    node.hold()
    try:
        try:
            backend = await BlockBackend.on(node, perm=perm, shared=ALL)
        except QmpError as error:
            raise BlockIOError(errno.EPERM, hint=error.report.removesuffix("\n")) from None
        try:
            yield backend
        finally:
            await backend.close()
    finally:
        node.unhold()


@asynccontextmanager
async def _filtered(node: Node, backing: Node) -> AsyncIterator[None]:
    """Let `node` not mind that its backing file is written to; others that use that still do."""
    backing.hold()
    try:
        between = await open_node(node.graph, {"driver": "commit_top"}, whole=False, for_job=True)
        between.implicit = True
        try:
            await change_backing(between, backing)
            await change_backing(node, between)
            try:
                yield
            finally:
                await change_backing(node, backing)
        finally:
            await unref(between)
    finally:
        backing.unhold()
