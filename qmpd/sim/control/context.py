"""What a handler of the control monitor is given, and how it is found."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from qmpd.sim.bench import Bench
    from qmpd.sim.guests.workload import Workload
    from qmpd.sim.state.checkpoint import Checkpoint
    from qmpd.wire.session import Session


class Context(NamedTuple):
    """What a handler is given besides its arguments.

    :param bench: what the command acts on
    :param session: the session that asked
    :param workloads: the workloads that were started here, by their ids
    :param checkpoints: the checkpoints that were made here, by their ids
    """

    bench: Bench
    session: Session
    workloads: dict[str, Workload]
    checkpoints: dict[str, Checkpoint]


Handler = Callable[[Context, Any], Any | Coroutine[Any, Any, Any]]
"""Takes the context and the arguments, and returns the reply's value (None for ``{}``), or a
coroutine that does: see `qmpd.monitor.qmp.handlers.Handler`.

What the bench tells Python by `LookupError`, `ValueError` or `TimeoutError`, the client is told
by a GenericError of the same text."""

Handlers = Mapping[str, Handler]
"""Handlers by command name."""
