"""The command of schema module transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from qmpd.monitor.qmp.handlers import Context, Handlers
from qmpd.transaction import ActionRequest, run_transaction

if TYPE_CHECKING:
    from qmpd.profile.models.transaction import TransactionArguments


async def transaction(context: Context, arguments: TransactionArguments) -> None:
    """Run a list of actions, all or none."""
    properties = arguments.properties
    grouped = properties is not None and properties.completion_mode == "grouped"
    actions: Sequence[Any] = arguments.actions
    requests = [ActionRequest(action.type, action.data) for action in actions]
    in_turn = context.machine.profile.rules.holds("transactions-go-in-their-order")
    await run_transaction(context.machine, requests, grouped=grouped, in_turn=in_turn)


HANDLERS: Final[Handlers] = {
    "transaction": transaction,
}
