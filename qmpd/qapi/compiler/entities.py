"""The checked schema: what a QAPI schema defines, as plain objects.

The compiler's pipeline is parse (`qmpd.qapi.compiler.parser`), check (`qmpd.qapi.compiler.check`),
entities (here, built by `qmpd.qapi.compiler.schema`), outputs (`qmpd.qapi.runtime.introspection`,
`qmpd.qapi.outputs.generate`).  Every output reads these objects and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """Where a definition stands: file name as given or included, line from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Condition:
    """An `if`: a name, or ``{'all'|'any': [...]}``, ``{'not': ...}``, kept as read."""

    expression: str | Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a definition, member or enum value (``deprecated``, ``unstable``...)."""

    name: str
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class DocSection:
    """One section of a doc block.

    `kind` is plain, member, feature, returns, errors, since, todo, or (QEMU before 9.1) note
    and example; `name` is that of the member or feature described.
    """

    kind: str
    name: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Doc:
    """The ``##`` block of a definition, split into its sections."""

    symbol: str | None
    body: str
    sections: Sequence[DocSection]
    location: SourceLocation

    def member(self, name: str) -> str | None:
        """The text for argument, member or value `name`; None when not documented."""
        return next((s.text for s in self.sections if s.kind == "member" and s.name == name), None)

    @property
    def since(self) -> str | None:
        """The version of ``Since:``, as written; None when absent."""
        return next((s.text for s in self.sections if s.kind == "since"), None)


@dataclass(slots=True)
class Entity:
    """Something a schema defines under a name."""

    name: str
    location: SourceLocation | None = None
    module: str | None = None
    """Schema module (file stem, e.g. ``block-core``); None for built-in types."""
    doc: Doc | None = None
    condition: Condition | None = None
    features: Sequence[Feature] = ()


@dataclass(slots=True)
class Type(Entity):
    """Any QAPI type."""


@dataclass(slots=True)
class BuiltinType(Type):
    """``str``, ``int``, ``uint32``, ``size``, ``bool``, ``number``, ``null``, ``any``..."""

    json_type: str = ""
    """As introspection names it: string, number, int, boolean, null, value."""


@dataclass(frozen=True, slots=True)
class EnumMember:
    """One value of an enum."""

    name: str
    location: SourceLocation | None = None
    condition: Condition | None = None
    features: Sequence[Feature] = ()


@dataclass(slots=True)
class EnumType(Type):
    """An enum; `implicit` ones are made for simple unions (``FooKind``)."""

    members: Sequence[EnumMember] = ()
    prefix: str | None = None
    implicit: bool = False


@dataclass(slots=True)
class ArrayType(Type):
    """A list; named ``fooList`` after its element."""

    element: Type = None  # type: ignore[assignment]


@dataclass(slots=True)
class Member:
    """A member of an object type, or an argument."""

    name: str
    type: Type
    optional: bool = False
    location: SourceLocation | None = None
    condition: Condition | None = None
    features: Sequence[Feature] = ()


@dataclass(slots=True)
class Branch:
    """One branch of a union: `type` holds its further members (may be the empty object)."""

    name: str
    type: ObjectType
    condition: Condition | None = None


@dataclass(slots=True)
class ObjectType(Type):
    """A struct, or a union when `discriminator` is set.

    `implicit` types are the anonymous ones: ``q_obj_CMD-arg``, ``q_obj_FOO-base``,
    ``q_obj_FOO-wrapper`` (``{'data': FOO}`` of old simple unions), ``q_empty``.
    """

    base: ObjectType | None = None
    local_members: Sequence[Member] = ()
    discriminator: Member | None = None
    branches: Sequence[Branch] = ()
    implicit: bool = False

    def members(self) -> Iterator[Member]:
        """All common members in wire order: those of the base first, then the local ones."""
        if self.base is not None:
            yield from self.base.members()
        yield from self.local_members

    @property
    def is_empty(self) -> bool:
        """Whether there is no member and no branch."""
        return not self.branches and next(self.members(), None) is None


@dataclass(frozen=True, slots=True)
class Alternative:
    """One alternative of an alternate type."""

    name: str
    type: Type
    condition: Condition | None = None


@dataclass(slots=True)
class AlternateType(Type):
    """A value whose JSON type says which alternative it is."""

    alternatives: Sequence[Alternative] = ()


@dataclass(slots=True)
class Command(Entity):
    """A command. `arguments` is None when it takes none; `returns` None for ``{}``."""

    arguments: ObjectType | None = None
    returns: Type | None = None
    boxed: bool = False
    gen: bool = True
    success_response: bool = True
    allow_oob: bool = False
    allow_preconfig: bool = False
    coroutine: bool = False


@dataclass(slots=True)
class Event(Entity):
    """An event. `arguments` is None when it carries no data."""

    arguments: ObjectType | None = None
    boxed: bool = False


@dataclass(slots=True)
class Schema:
    """A whole checked schema, in definition order."""

    file: str
    entities: Mapping[str, Entity] = field(default_factory=dict)
    """Every named entity: built-in, implicit and defined types, commands, events."""
    modules: Sequence[str] = ()
    """Module names in the order in which they were first included."""

    def lookup(self, name: str) -> Entity:
        """The entity called `name`; KeyError when there is none."""
        return self.entities[name]

    def commands(self) -> Iterator[Command]:
        """All commands in definition order."""
        return (e for e in self.entities.values() if isinstance(e, Command))

    def events(self) -> Iterator[Event]:
        """All events in definition order."""
        return (e for e in self.entities.values() if isinstance(e, Event))

    def types(self) -> Iterator[Type]:
        """All types in definition order."""
        return (e for e in self.entities.values() if isinstance(e, Type))
