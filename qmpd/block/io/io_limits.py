"""Limits of a block backend (block_set_io_throttle, and -drive's)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.throttle.group import ThrottleMember

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.throttle.limits import ThrottleConfig


async def set_io_limits(
    backend: BlockBackend, config: ThrottleConfig, group: str | None, *, default_group: str
) -> None:
    """Put a backend, and its group, under limits; none at all lift them.

    :param group: the group to be in; None for the present one
    :param default_group: the group where there is none yet
    """
    if not config.enabled:
        await backend.lift_io_limits()
        return
    if group is not None and backend.throttle is not None and group != backend.throttle.group.name:
        await backend.lift_io_limits()
    if backend.throttle is None:
        groups = backend.graph.throttle_groups
        backend.throttle = ThrottleMember(groups.get(group or default_group))
        if backend.quiesce_counter:
            backend.throttle.drained_begin()
    backend.throttle.group.configure(config)
