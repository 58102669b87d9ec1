"""What the command registry knows of a command before any model is imported.

`qmpd.profile.models.command_table` (generated) is a table of these.  This module imports
nothing heavy: a daemon reaches its greeting without pydantic.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommandInfo:
    """One command of the schema.

    :param name: command name
    :param module: schema module that defines it, e.g. ``block-core``
    :param arguments: ``module:Name`` of its argument model in `qmpd.profile.models`, or None
    :param optional: the attributes of that model, where a request may leave out all of them
    :param returns: QAPI name of the return type; None for ``{}``
    :param features: special and other features (``deprecated``, ``unstable``)
    :param gen: False when the arguments are free-form (``gen: false``)
    """

    name: str
    module: str
    arguments: str | None = None
    returns: str | None = None
    features: tuple[str, ...] = ()
    gen: bool = True
    optional: tuple[str, ...] = ()
    success_response: bool = True
    allow_oob: bool = False
    allow_preconfig: bool = False


@dataclass(frozen=True, slots=True)
class EventInfo:
    """One event of the schema; `arguments` names the type of its data, None for no data."""

    name: str
    module: str
    arguments: str | None = None
    features: tuple[str, ...] = ()
