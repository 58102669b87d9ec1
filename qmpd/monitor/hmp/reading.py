"""Options in lines of the human monitor, and how they are read where there are many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine

T = TypeVar("T")

LONG: Final = 4096
"""Characters from which on options are long to read."""


async def read(machine: Machine, text: str, work: Callable[[], T]) -> T:
    """Read options; others have their turn meanwhile, where it takes long.

    The command must not have done anything yet.

    :param text: the options
    :param work: reads them, and touches nothing of the machine
    :raises Exception: whatever `work` raises
    """
    if len(text) < LONG:
        return work()
    return await meanwhile(machine, machine.host.apart.do(work))


async def meanwhile(machine: Machine, work: Awaitable[T]) -> T:
    """Wait for `work`; other commands, which may be of the human monitor, have their turn.

    :raises Exception: whatever `work` raises
    """
    with machine.complaints.of_others():
        return await work
