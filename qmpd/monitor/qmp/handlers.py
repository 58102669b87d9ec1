"""How a command finds its handler.

Each module of this package serves the commands of one schema module, and has a table
``HANDLERS`` of them.  `LazyHandlers` joins the tables, and imports a module when one of
its commands is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.monitor.descriptors import Descriptors
    from qmpd.wire.session import Session


class Context(NamedTuple):
    """What a handler is given besides its arguments.

    :param machine: the machine that the command acts on
    :param handlers: all handlers, the one that runs among them
    :param session: the session that asked; None where a command of the human monitor stands
        for one of QMP
    :param raw: the arguments as they came, already validated: plain JSON values
    :param descriptors: what the clients of the monitor that asked have handed over
    """

    machine: Machine
    handlers: Handlers
    session: Session | None
    raw: Mapping[str, Any]
    descriptors: Descriptors


Handler = Callable[[Context, Any], Any | Coroutine[Any, Any, Any]]
"""Takes the context and the arguments, and returns the reply's value, members in schema order
(None for ``{}``), or a coroutine that does.

The arguments are an instance of the model that the handler's annotation names, and None for a
command without arguments.  If all are optional and none was given they are a namespace with the
model's attributes, all None: it stands for the model, so that no model is made for nothing."""

Handlers = Mapping[str, Handler]
"""Handlers by command name."""


H = TypeVar("H")


class LazyHandlers(Mapping[str, H]):
    """The handlers of several modules.

    :param package: the package whose modules these are
    :param modules: the commands of each module, which has a table ``HANDLERS`` of just these
    """

    def __init__(self, package: str, modules: Mapping[str, tuple[str, ...]]) -> None:
        self._package = package
        self._modules = {
            command: name for name, commands in modules.items() for command in commands
        }
        self._imported: dict[str, H] = {}

    def __getitem__(self, command: str) -> H:
        if command not in self._imported:
            module = import_module(f"{self._package}.{self._modules[command]}")
            self._imported.update(module.HANDLERS)
        return self._imported[command]

    def import_next(self) -> bool:
        """Import a module that no command has asked for yet; False when there is none left."""
        for command in self._modules:
            if command not in self._imported:
                self[command]
                return True
        return False

    def __contains__(self, command: object) -> bool:
        return command in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)
