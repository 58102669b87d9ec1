"""Transactions: either all actions happen or none (qmp_transaction).

The phases are those of tran_*(): prepare each action in order; then commit each in
reverse, or, if one failed, abort in reverse, including the one that failed; then
clean in reverse.  Later actions of the list see what earlier ones have prepared.
Plain commands run the same actions, alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from qmpd.base.override import override
from qmpd.block.model.graph import Graph
from qmpd.errors import GenericError, QmpError
from qmpd.jobs.core.job_list import JobTable
from qmpd.jobs.core.job_txn import JobTxn

# The phases of a transaction
#
#                      prepare A, prepare B, prepare C
#     all succeeded:   commit C, commit B, commit A        clean C, clean B, clean A
#     B failed:        abort B, abort A                    clean B, clean A
#
# *prepare* does the work, as far as it can be undone: a bitmap is cleared and its old bits are
# kept, an overlay is opened and put on its image.  Everything that can fail belongs here, because
# nothing after it may fail.  Doing the work right away, rather than in commit, is what lets one
# action build on another: a bitmap that is added can be merged into by the next action.
#
# *commit* throws away what was kept for undoing, or does what cannot be undone and cannot fail,
# such as starting a job.
#
# *abort* undoes prepare.  The action whose prepare failed is aborted as well, so an abort must
# cope with a prepare that was left half done.  Reverse order means that each abort finds the
# state that its prepare has left behind.
#
# *clean* follows either of them and releases what the action held all the time, such as a
# drained section or a reference to a node.


AT_A_TIME: Final = 64
"""Actions that are done before others may have their turn."""

Rest = Callable[[], Awaitable[None]]


async def no_rest() -> None:
    """Nobody else has his turn."""


class ActionRequest(NamedTuple):
    """A requested action: its kind, and data with an attribute for each argument."""

    kind: str
    data: Any


class Bench(Protocol):
    """What actions work on; a machine provides it."""

    @property
    def graph(self) -> Graph:
        """The block graph."""

    @property
    def jobs(self) -> JobTable:
        """The jobs."""


class Action:
    """An action in progress.

    :param bench: what it works on
    :param data: its arguments, as attributes; absent ones are None
    :param job_txn: the group in which the jobs of the transaction complete together
        (completion-mode grouped); None when each is on its own
    """

    groupable: ClassVar[bool] = False
    """Whether it may be part of a transaction with completion-mode grouped."""

    def __init__(self, bench: Bench, data: Any, job_txn: JobTxn | None = None) -> None:
        self.graph = bench.graph
        self.jobs = bench.jobs
        self.data = data
        self.job_txn = job_txn

    async def prepare(self) -> None:
        """Do the action in a way that can be undone.

        :raises QmpError: it is refused or failed
        """

    async def commit(self) -> None:
        """Make the action final: all actions are prepared."""

    async def abort(self) -> None:
        """Undo what was prepared: an action failed, perhaps this one."""

    async def clean(self) -> None:
        """Release what was held, after commit or abort."""


class Abort(Action):
    """Always fails, and the transaction with it."""

    @override
    async def prepare(self) -> None:
        raise GenericError("Transaction aborted using Abort action")


class Refused(Action):
    """Fails with an error that is known before.

    :param error: the error
    """

    def __init__(self, bench: Bench, data: Any, error: QmpError) -> None:
        super().__init__(bench, data)
        self._error = error

    @override
    async def prepare(self) -> None:
        raise self._error


async def run_phases(
    actions: Sequence[Action], *, in_turn: bool = False, rest: Rest = no_rest
) -> None:
    """Prepare all actions, commit or abort them, then clean up.

    :param in_turn: the first action is the first to be committed, and not the last
    :param rest: waited for between actions, of which there may be thousands
    :raises QmpError: the first error raised by `prepare`
    """
    begun: list[Action] = []
    try:
        for action in actions:
            begun.append(action)
            await action.prepare()
            if not len(begun) % AT_A_TIME:
                await rest()
    except BaseException:
        for number, action in enumerate(reversed(begun)):
            await action.abort()
            if not number % AT_A_TIME:
                await rest()
        raise
    else:
        for number, action in enumerate(_with_own(Action.commit, begun, in_turn)):
            await action.commit()
            if not number % AT_A_TIME:
                await rest()
    finally:
        for action in _with_own(Action.clean, begun, in_turn):
            await action.clean()


def _with_own(
    phase: Callable[[Action], object], actions: Sequence[Action], in_turn: bool
) -> list[Action]:
    """Those that have something to do in a phase, in its order."""
    name = phase.__name__
    own = {kind for kind in set(map(type, actions)) if getattr(kind, name) is not phase}
    if not own:
        return []
    found = [action for action in actions if type(action) in own]
    return found if in_turn else found[::-1]
