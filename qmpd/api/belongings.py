"""What a `qmpd.api.core.Core` keeps of a machine, and what it may begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from random import Random

    from qmpd.api.jobs import JobRecord
    from qmpd.block.images import MemoryStorage, Storage
    from qmpd.block.images.memory import MemoryFile
    from qmpd.monitor.qmp_monitor import QmpMonitor
    from qmpd.sim.match import Event


class Socket(Protocol):
    """A place where clients of a served machine come in."""

    def disconnect(self) -> None:
        """Drop the client, and what it sees of the machine."""

    def join(self) -> None:
        """Let clients come to the machine that there is now."""


class Saved(NamedTuple):
    """What a machine begins with, where it is not made of its arguments alone.

    :param description: what there is: see `qmpd.sim.state.describe`; and ``time``.  None: what
        the arguments say, on images that there are
    """

    description: dict[str, Any] | None
    files: dict[str, MemoryFile]


class Belongings(NamedTuple):
    """What belongs to a machine in the hands of its program.

    :param monitor: the program's own
    :param storage: where its images live
    :param own_disks: where disks live that have no path
    :param random: where names that it makes up come from
    :param events: those that were not taken
    """

    monitor: QmpMonitor
    storage: Storage
    own_disks: MemoryStorage
    random: Random
    events: list[Event]
    jobs: dict[str, JobRecord]
    printed: list[str]
    complaints: list[str]
