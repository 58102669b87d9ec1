"""Transactions: actions that all happen, or none.

The phases are QEMU's: prepare of each action in order; then commit of each in
reverse, or, when one failed, abort in reverse, the failing one included; then
clean in reverse.  What an action prepares, later actions of the list see.  The
plain commands run the same actions, alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from qmpd.base.newest_first import NewestFirst
from qmpd.base.override import override
from qmpd.block.model.graph import Graph
from qmpd.errors import GenericError
from qmpd.jobs.core.job_list import JobTable
from qmpd.jobs.core.job_txn import JobTxn


class ActionRequest(NamedTuple):
    """One action as asked for: its kind, and data with an attribute for each argument."""

    kind: str
    data: Any


class Bench(Protocol):
    """What actions act upon: a machine has it."""

    @property
    def graph(self) -> Graph:
        """The block graph."""

    @property
    def jobs(self) -> JobTable:
        """The jobs."""


class Action:
    """One action under way.

    :param bench: what it acts upon
    :param data: its arguments, as attributes; absent ones are None
    :param job_txn: what jobs of the whole transaction complete together with
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
        """Do it, so that it can be undone.

        :raises QmpError: it cannot be done
        """

    async def commit(self) -> None:
        """All actions are prepared: make it final."""

    async def abort(self) -> None:
        """An action failed, perhaps this one: undo what was done."""

    async def clean(self) -> None:
        """After commit or abort: give back what was held."""

    async def settle(self) -> None:
        """All actions are over: let a job that needs no time come to its end."""


class Abort(Action):
    """Fails, so that the transaction does."""

    @override
    async def prepare(self) -> None:
        raise GenericError("Transaction aborted using Abort action")


async def run_phases(actions: Sequence[Action]) -> None:
    """Prepare all actions, then commit or abort them, then clean up after them.

    :raises QmpError: the first that `prepare` raised
    """
    begun: NewestFirst[Action] = NewestFirst()
    try:
        for action in actions:
            begun.add(action)
            await action.prepare()
    except BaseException:
        for action in begun:
            await action.abort()
        raise
    else:
        for action in begun:
            await action.commit()
    finally:
        for action in begun:
            await action.clean()
        for action in begun.oldest_first():
            await action.settle()
