"""Definitions with their parts checked, types still names.

`qmpd.qapi.compiler.check` makes these from expressions, and `qmpd.qapi.compiler.resolve`
makes entities of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qmpd.qapi.compiler.entities import Condition, Feature
from qmpd.qapi.compiler.source import Site

if TYPE_CHECKING:
    from qmpd.qapi.compiler.doc import DocBlock


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type by its name; `is_array` for ``['name']``."""

    name: str
    is_array: bool = False


@dataclass(frozen=True, slots=True)
class MemberPart:
    """A member, argument, branch or alternative.

    :param type: its type, or the members of an anonymous one (dialect of 2012 only)
    """

    name: str
    type: TypeName | Sequence[MemberPart]
    optional: bool = False
    condition: Condition | None = None
    features: Sequence[Feature] = ()


@dataclass(frozen=True, slots=True)
class ValuePart:
    """A value of an enum."""

    name: str
    condition: Condition | None = None
    features: Sequence[Feature] = ()


@dataclass(slots=True)
class Definition:
    """What all kinds of definition have."""

    site: Site
    doc: DocBlock | None
    condition: Condition | None = field(default=None, kw_only=True)
    features: Sequence[Feature] = field(default=(), kw_only=True)


@dataclass(slots=True)
class EnumDefinition(Definition):
    """``{ 'enum': ... }``."""

    values: Sequence[ValuePart]
    prefix: str | None


@dataclass(slots=True)
class StructDefinition(Definition):
    """``{ 'struct': ... }``."""

    members: Sequence[MemberPart]
    base: str | None


@dataclass(slots=True)
class UnionDefinition(Definition):
    """``{ 'union': ... }``; without a discriminator it is one of QEMU's before 6.2."""

    base: str | Sequence[MemberPart] | None
    discriminator: str | None
    branches: Sequence[MemberPart]


@dataclass(slots=True)
class AlternateDefinition(Definition):
    """``{ 'alternate': ... }``."""

    alternatives: Sequence[MemberPart]


@dataclass(slots=True)
class EventDefinition(Definition):
    """``{ 'event': ... }``."""

    arguments: str | Sequence[MemberPart] | None
    boxed: bool


@dataclass(slots=True)
class CommandDefinition(EventDefinition):
    """``{ 'command': ... }``."""

    returns: TypeName | None
    gen: bool
    success_response: bool
    allow_oob: bool
    allow_preconfig: bool
    coroutine: bool
