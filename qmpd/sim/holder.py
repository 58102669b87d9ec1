"""Who holds a machine on the bench, and what a machine is to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from qmpd.loop.clock import Clock

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.monitor.monitor import Monitor
    from qmpd.monitor.monitors import Monitors

ClockT = TypeVar("ClockT", bound=Clock)


class World(NamedTuple, Generic[ClockT]):
    """A machine with what belongs to it alone.

    :param clock: what runs the machine
    """

    machine: Machine
    monitors: Monitors
    clock: ClockT


class Holder(Protocol):
    """Who holds the machine on a bench, a program or a server: it can make another one."""

    setup: Any
    """What its machines are made of: a value that does not change."""

    def make(self, *, anew: bool) -> World[Any]:
        """Make a machine of the same kind, with no disks yet.

        :param anew: with images, time and names as at the very beginning; otherwise images are
            as they are, and time goes on
        :raises MachineClosed: there is to be none any more
        """

    def switch(self, world: World[Any], *, anew: bool, belongings: Any = None) -> None:
        """Hold another machine from now on; clients are disconnected, and may connect again.

        :param anew: whether to forget what came from machines before
        :param belongings: of a machine that is brought back: what belongs to it
        """

    def outside(self) -> list[object]:
        """What surrounds the machine, and is no part of it, though it may know them."""

    def kept_monitors(self) -> list[Monitor]:
        """The monitors that are to be there, with their peers, when the machine is brought back."""

    def belongings(self) -> Any:
        """What else there is of the machine."""

    async def set_up(self, *, anew: bool) -> None:
        """Do to the new machine what was done at the start: add disks, negotiate.

        :param anew: whether images that were made then are made again
        """

    def cut(self) -> None:
        """Disconnect all clients and listen no longer, because the machine was killed."""


class Program(Protocol):
    """The process of a machine that lives in it from its beginning to its end, as QEMU's does.

    There is no holder then: another machine needs another process, or the same one anew.
    """

    def kill(self) -> None:
        """End the process as ``kill -9`` does, once the present answer is out."""

    def run_again(self, *, keeps_images: bool) -> None:
        """End the machine as ``quit`` does, then begin anew from the same command line.

        :param keeps_images: whether images have to be as they are now
        :raises NotServed: that would not be the same program
        """
