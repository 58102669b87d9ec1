"""Giving an image up: its bitmaps are stored, its metadata is written back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from qmpd.block.drivers.formats.qcow2.bitmaps.store import store_bitmaps
from qmpd.errors import BlockIOError, QmpError

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State

log = logging.getLogger("qmpd.block.qcow2")


async def write_back(s: Qcow2State) -> None:
    """Write what is only in memory; errors are only told (``qcow2_inactivate``)."""
    if s.unusable or not s.node.active:
        return
    if not s.writable:
        await _store(s)
        return
    clean = await _store(s)
    for cache, what in ((s.l2_cache, "L2 table"), (s.refcount_cache, "refcount block")):
        try:
            await cache.flush()
        except BlockIOError as error:
            clean = False
            s.node.services.say.report(f"Failed to flush the {what} cache: {error.desc}")
    if clean:
        try:
            await s.mark_clean()
        except BlockIOError as error:
            log.debug("The image could not be marked clean: %s", error.desc)


async def _store(s: Qcow2State) -> bool:
    """Store the bitmaps; returns whether that has worked."""
    try:
        await store_bitmaps(s, release=True)
    except QmpError as error:
        what = "Lost persistent bitmaps during inactivation of node"
        s.node.services.say.report(f"{what} '{s.node.device_or_node_name}': {error.desc}")
        return False
    return True
