"""How a command finds its handler.

Each module of this package serves the commands of one schema module and lists
them in a `CommandTable`.  `SERVED` joins the tables: what is in it is served,
what is only in the schema answers that it is not (`NotServed`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.wire.session import Session


@dataclass(frozen=True, slots=True)
class Context:
    """Whom a command serves: the machine, the monitor session that asked, and with what.

    No session has asked where a command of the human monitor stands for one of QMP.
    """

    machine: Machine
    session: Session | None
    raw: Mapping[str, Any]
    """The arguments as they came, already validated: plain JSON values."""


Handler = Callable[[Context, Any], Any | Awaitable[Any]]
"""Takes the context and the argument model (None for a command without arguments);
returns the reply's value, members in schema order (None for ``{}``), or a coroutine
that does."""


class CommandTable:
    """The handlers of one schema module's commands."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}

    def command(self, name: str) -> Callable[[Handler], Handler]:
        """Let the decorated function serve command `name`."""

        def register(handler: Handler) -> Handler:
            assert name not in self.handlers
            self.handlers[name] = handler
            return handler

        return register


def join(*tables: CommandTable) -> Mapping[str, Handler]:
    """All handlers of `tables` by command name."""
    joined: dict[str, Handler] = {}
    for table in tables:
        joined |= table.handlers
    return joined
