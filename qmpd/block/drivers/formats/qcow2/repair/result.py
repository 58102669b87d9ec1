"""What a check has found, and what it says on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.block.drivers.formats.qcow2.state import Qcow2State


@dataclass(slots=True)
class CheckResult:
    """What a check found and could not, or was not to, repair (BdrvCheckResult).

    :param corruptions: wrong entries and refcounts that are too low
    :param leaks: clusters whose refcount is too high
    :param check_errors: what could not be checked or repaired
    """

    corruptions: int = 0
    leaks: int = 0
    check_errors: int = 0

    @property
    def found(self) -> int:
        """How many refcounts and entries were found to be wrong."""
        return self.corruptions + self.leaks

    def copy(self) -> CheckResult:
        """The same, which stays as it is."""
        return replace(self)

    def fixed_one(self) -> None:
        """Count a corruption no more, which has been repaired."""
        self.corruptions -= 1


def say(s: Qcow2State, text: str) -> None:
    """Say one line on standard error, where ``qemu-img check`` says it."""
    s.node.services.say.complain(f"{text}\n")


def verb(*, fix: bool) -> str:
    """How a line begins that tells of something wrong."""
    return "Repairing" if fix else "ERROR"
