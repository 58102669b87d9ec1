"""Commands of schema module replay: a guest that does nothing has nothing to be recorded."""

from __future__ import annotations

from typing import Final

from qmpd.errors import GenericError
from qmpd.monitor.qmp.handlers import Context, Handlers


def query_replay(context: Context, _: None) -> dict[str, object]:
    """Nothing is recorded or replayed (``-icount`` is not served)."""
    return {"mode": "none", "icount": 0}


def replay_break(context: Context, _: object) -> None:
    """There is no replay that could be stopped."""
    raise GenericError("setting the breakpoint is allowed only in play mode")


def replay_delete_break(context: Context, _: None) -> None:
    """There is no replay that could be stopped."""
    raise GenericError("replay breakpoints are allowed only in play mode")


def replay_seek(context: Context, _: object) -> None:
    """There is no replay."""
    raise GenericError("replay must be enabled to seek")


HANDLERS: Final[Handlers] = {
    "query-replay": query_replay,
    "replay-break": replay_break,
    "replay-delete-break": replay_delete_break,
    "replay-seek": replay_seek,
}
