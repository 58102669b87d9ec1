"""What a machine is at a moment, kept: to go back to, to go on from beside it, as often as wanted.

A checkpoint is a copy of everything that can be reached from a machine, its monitors and its clock
(`qmpd.sim.state.copier`), so it holds what clients can see and what they cannot: nodes with their
caches, backends, devices, bitmaps, exports, throttle levels, statistics, timers, the state of the
random numbers.  The bytes of images are shared until somebody writes to them.

Three things are no part of it: the process around the machine (its host, sockets and the clients
there), the tools of the bench (journal, faults), and coroutines.  Python cannot copy a coroutine
that waits, so that nothing may be at work: no job, no request, no command.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from qmpd.block.model.families import Connected
from qmpd.errors import GenericError
from qmpd.jobs.core.states import JobStatus
from qmpd.sim.state.copier import OMITTED, Copier, StillAtWorkError

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.sim.holder import Holder, World


_ENDED: Final = (JobStatus.CONCLUDED, JobStatus.NULL)


class Contents(NamedTuple):
    """What is copied.

    :param world: the machine, its monitors, its clock
    :param belongings: what else the holder of the machine has of it
    """

    world: World[Any]
    belongings: Any


class Checkpoint:
    """A machine at a moment.

    :param holder: who holds it
    :param position: how many entries its journal has
    :raises GenericError: something is at work, so that it cannot be told how it would go on
    """

    def __init__(self, world: World[Any], holder: Holder, position: int) -> None:
        _require_quiet(world.machine)
        self._outside = holder.outside()
        stands = {id(thing): _Outside(index) for index, thing in enumerate(self._outside)}
        kept = holder.kept_monitors()
        foreign: dict[int, Any] = {id(m): OMITTED for m in world.monitors if m not in kept}
        # whoever reads along, a file or the bench, belongs to the process
        if world.monitors.tap is not None:
            foreign[id(world.monitors.tap)] = OMITTED
        bell = getattr(world.clock, "on_change", None)
        if bell is not None:
            foreign[id(bell)] = OMITTED
        contents = Contents(world, holder.belongings())
        try:
            self._contents: Contents = Copier({**stands, **foreign}).copy(contents)
        except StillAtWorkError as error:
            raise GenericError(
                f"Something is still at work ({error.name}): a checkpoint cannot hold that"
            ) from None
        self._stands = list(stands.values())
        self.time: int = world.clock.now()
        """The machine's clock at that moment, nanoseconds."""
        self.setup: Any = holder.setup
        """What the machine was made of (`Holder.setup`)."""
        self.position = position
        """How many entries the journal had."""

    def contents(self, outside: Iterable[object]) -> Contents:
        """Return a machine that goes on from here.

        :param outside: what surrounds it: the same things that its holder named
            (`Holder.outside`), in the same order
        """
        pairs = zip(self._stands, outside, strict=True)
        instead = {id(stand): thing for stand, thing in pairs}
        contents: Contents = Copier(instead).copy(self._contents)
        contents.world.clock.go_on_from(self.time)
        contents.world.monitors.intercept(None)
        return contents


class _Outside:
    """Stands for something that surrounds the machine."""

    def __init__(self, index: int) -> None:
        self._index = index


def _require_quiet(machine: Machine) -> None:
    """Check that nothing is there that cannot be copied.

    :raises GenericError: the text says what
    """
    if machine.services.storage.changes_host:
        raise GenericError(
            "Images are files of the host, which a checkpoint cannot hold; with storage 'overlay'"
            " or 'memory' it can"
        )
    if machine.services.storage.has_descriptors:
        raise GenericError(
            "A checkpoint cannot hold the files of descriptor sets: take them out by remove-fd"
        )
    if "parts" not in machine.__dict__:
        return
    busy = [job for job in machine.jobs.jobs if job.status not in _ENDED]
    if busy:
        names = ", ".join(f"'{job.id}' ({job.status.value})" for job in busy)
        raise GenericError(f"Jobs are at work: {names}; a checkpoint cannot hold them")
    for node in machine.graph.nodes():
        if isinstance(node.driver, Connected):
            raise GenericError(
                f"A checkpoint cannot hold the connection of node '{node.node_name}': close it"
            )
    if "migration" in machine.__dict__ and machine.migration.yankable:
        raise GenericError("A migration is under way: a checkpoint cannot hold its stream")
    if machine.nbd.running or machine.exports.exports:
        raise GenericError("A checkpoint cannot hold a socket: stop the NBD server, end exports")
