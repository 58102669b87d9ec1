"""The power of a machine's host fails."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, cast, get_args

from qmpd.errors import GenericError
from qmpd.sim.power.file import Keep
from qmpd.sim.power.storage import OrderedStorage

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine


def check_keep(keep: str) -> Keep:
    """Check that it is one of the words of `Keep`.

    :raises ValueError: it is not
    """
    words = get_args(Keep)
    if keep not in words:
        known = ", ".join(repr(word) for word in words)
        raise ValueError(f"there is no keep {keep!r}; it is one of {known}")
    return cast("Keep", keep)


def lose_power(machine: Machine, keep: str, seed: int, kill: Callable[[], None]) -> None:
    """Kill a machine, and let its images be what a disk may have kept of them.

    :param keep: how much of what was not flushed
    :param seed: chooses among the ways in which that may be
    :param kill: ends the machine where it stands
    :raises ValueError: no such `keep`, or a seed that is no number
    :raises GenericError: the images do not keep the order of their writes
    """
    if not isinstance(seed, int):
        raise ValueError(f"a seed is a number, not {seed!r}")
    what = check_keep(keep)
    storage = ordered_storage(machine)
    kill()
    storage.lose_power(what, Random(seed))


def ordered_storage(machine: Machine) -> OrderedStorage:
    """The storage of a machine whose images keep the order of their writes.

    :raises GenericError: they do not
    """
    storage = machine.services.storage.usual
    if not isinstance(storage, OrderedStorage):
        raise GenericError(
            "Images do not keep the order of their writes: make the machine with power=True"
        )
    return storage
