"""The commands and events of a schema: what is known of each before its types are.

A table of these is small, and read by itself: a monitor greets its client, and looks up
a command, without the table of types and without pydantic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple


class CommandInfo(NamedTuple):
    """One command of a schema.

    :param module: schema module that defines it, e.g. ``block-core``
    :param arguments: the object type of its arguments; None: it takes none
    :param optional: attributes of the arguments' model, if all of them may be left out
    :param returns: reference to the type of its value, e.g. ``[BlockInfo]``; None for ``{}``
    :param features: special and other features (``deprecated``, ``unstable``)
    :param gen: False when the arguments are free-form (``'gen': false``)
    """

    name: str
    module: str
    arguments: str | None = None
    optional: tuple[str, ...] = ()
    returns: str | None = None
    features: tuple[str, ...] = ()
    gen: bool = True
    success_response: bool = True
    allow_oob: bool = False
    allow_preconfig: bool = False


class EventInfo(NamedTuple):
    """One event of a schema; `arguments` is the object type of its data, None for no data."""

    name: str
    module: str
    arguments: str | None = None
    features: tuple[str, ...] = ()


class EntryPoints:
    """All commands and events of one schema.

    :param data: as `qmpd.qapi.outputs.table` writes it: what is known of each, by name, in
        definition order
    """

    def __init__(self, data: Mapping[str, Mapping[str, Any]]) -> None:
        self._infos = tuple(_info(name, entry) for name, entry in data.items())

    @cached_property
    def commands(self) -> Mapping[str, CommandInfo]:
        """All commands by name, in definition order."""
        return {info.name: info for info in self if isinstance(info, CommandInfo)}

    @cached_property
    def events(self) -> Mapping[str, EventInfo]:
        """All events by name, in definition order."""
        return {info.name: info for info in self if isinstance(info, EventInfo)}

    def __iter__(self) -> Iterator[CommandInfo | EventInfo]:
        """Commands and events in definition order."""
        return iter(self._infos)


def _info(name: str, entry: Mapping[str, Any]) -> CommandInfo | EventInfo:
    data = {key.replace("-", "_"): value for key, value in entry.items()}
    for key in ("features", "optional"):
        if key in data:
            data[key] = tuple(data[key])
    return (CommandInfo if data.pop("kind") == "command" else EventInfo)(name, **data)
