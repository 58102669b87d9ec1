"""Operations that a node refuses for the time being (QEMU's op blockers)."""

from __future__ import annotations

from enum import Enum, auto

from qmpd.base.newest_first import NewestFirst
from qmpd.errors import GenericError


class Op(Enum):
    """An operation that may be blocked."""

    BACKUP_SOURCE = auto()
    BACKUP_TARGET = auto()
    CHANGE = auto()
    COMMIT_SOURCE = auto()
    COMMIT_TARGET = auto()
    DRIVE_DEL = auto()
    EJECT = auto()
    EXTERNAL_SNAPSHOT = auto()
    INTERNAL_SNAPSHOT = auto()
    INTERNAL_SNAPSHOT_DELETE = auto()
    MIRROR_SOURCE = auto()
    MIRROR_TARGET = auto()
    REPLACE = auto()
    RESIZE = auto()
    STREAM = auto()


BACKING_ALLOWS: tuple[Op, ...] = (
    Op.COMMIT_TARGET,
    Op.STREAM,
    Op.BACKUP_SOURCE,
    Op.BACKUP_TARGET,
)
"""What may be done to a node that is another's backing file."""


class Blocker:
    """One reason to refuse operations.

    :param reason: why, as the message says it
    :param allows: what is not refused
    """

    __slots__ = ("allows", "reason")

    def __init__(self, reason: str, allows: tuple[Op, ...] = ()) -> None:
        self.reason = reason
        self.allows = allows


class Blockers:
    """The blockers of one node."""

    def __init__(self) -> None:
        self._blockers: NewestFirst[Blocker] = NewestFirst()

    def add(self, blocker: Blocker) -> None:
        """Refuse from now on."""
        self._blockers.add(blocker)

    def remove(self, blocker: Blocker) -> None:
        """Take one blocker away."""
        self._blockers.remove(blocker)

    def check(self, operation: Op, name: str) -> None:
        """Whether nothing blocks `operation`.

        :param name: how messages call the node
        :raises GenericError: with the newest reason
        """
        for blocker in self._blockers:
            if operation not in blocker.allows:
                raise GenericError(f"Node '{name}' is busy: {blocker.reason}")
