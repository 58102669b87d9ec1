"""Definitions to entities without contents: who is there, under which name.

Types may be used before they are defined, so this goes before `qmpd.qapi.compiler.resolve`, which
fills the entities.  Implicit types are made here: those of anonymous members, of arrays, and
of unions without a discriminator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from qmpd.qapi.compiler.definitions import (
    AlternateDefinition,
    CommandDefinition,
    Definition,
    EnumDefinition,
    EventDefinition,
    MemberPart,
    StructDefinition,
    TypeName,
    UnionDefinition,
    ValuePart,
)
from qmpd.qapi.compiler.doc import DocBlock
from qmpd.qapi.compiler.entities import (
    AlternateType,
    ArrayType,
    BuiltinType,
    Command,
    Condition,
    Entity,
    EnumMember,
    EnumType,
    Event,
    ObjectType,
)
from qmpd.qapi.compiler.source import Site
from qmpd.qapi.runtime.type_table import BUILTINS

QTYPE_VALUES = ("none", "qnull", "qnum", "qstring", "qdict", "qlist", "qbool")
_KINDS: dict[type[Entity], str] = {
    BuiltinType: "built-in",
    EnumType: "enum",
    ObjectType: "struct",
    AlternateType: "alternate",
    Command: "command",
    Event: "event",
}
_NO_TYPES = ("command", "event")


@dataclass(slots=True)
class ArrayPlan:
    """An array, after the definition that used it first (None: of a built-in type)."""

    entity: ArrayType
    site: Site | None
    element: str


@dataclass(slots=True)
class EnumPlan:
    """An enum; `site` is None for the predefined one."""

    entity: EnumType
    site: Site | None
    doc: DocBlock | None


@dataclass(slots=True)
class ObjectPlan:
    """A struct, union or implicit object.

    :param base: name of the base type
    :param members: local members, types as names
    :param tag: name of the discriminator; None for a struct
    :param branches: the union's branches
    :param wrapped: the type in the ``data`` of a simple union's branch
    """

    entity: ObjectType
    site: Site | None
    doc: DocBlock | None = None
    base: str | None = None
    members: Sequence[MemberPart] = ()
    tag: str | None = None
    branches: Sequence[MemberPart] = ()
    is_simple: bool = False
    wrapped: TypeName | None = None


@dataclass(slots=True)
class AlternatePlan:
    """An alternate."""

    entity: AlternateType
    site: Site
    doc: DocBlock | None
    alternatives: Sequence[MemberPart]


@dataclass(slots=True)
class EventPlan:
    """A command or event; `arguments` names the type of its arguments."""

    entity: Command | Event
    site: Site
    doc: DocBlock | None
    arguments: str | None
    returns: TypeName | None = None


Plan: TypeAlias = ArrayPlan | EnumPlan | ObjectPlan | AlternatePlan | EventPlan


class Definer:
    """Collects entities, in the order in which QEMU's compiler checks them.

    :param modules: module name of each schema file
    """

    def __init__(self, modules: dict[str, str]) -> None:
        self.entities: dict[str, Entity] = {}
        self.plans: list[Plan] = []
        self._sites: dict[str, Site] = {}
        self._unions: set[str] = set()
        self._modules = modules
        for name, json_type in BUILTINS.items():
            self.entities[name] = BuiltinType(name, json_type=json_type)
            self._type_name(TypeName(name, is_array=True), None)
        self.empty = ObjectType("q_empty", implicit=True)
        self._add(self.empty, ObjectPlan(self.empty, None))
        values = tuple(EnumMember(name) for name in QTYPE_VALUES)
        qtype = EnumType("QType", members=values, implicit=True)
        self._add(qtype, EnumPlan(qtype, None, None))

    def define(self, definition: Definition) -> None:
        """Add the entities that `definition` makes.

        :raises QapiError: the name is taken
        """
        match definition:
            case EnumDefinition():
                self._define_enum(definition)
            case StructDefinition():
                self._define_struct(definition)
            case UnionDefinition():
                self._define_union(definition)
            case AlternateDefinition():
                self._define_alternate(definition)
            case CommandDefinition():
                self._define_command(definition)
            case EventDefinition():
                self._define_event(definition)

    def _add(self, entity: Entity, plan: Plan, definition: Definition | None = None) -> None:
        site = plan.site
        name = entity.name
        if site is not None:
            entity.location = site.location
            entity.module = self._modules[site.location.file]
            if other := self.entities.get(name):
                raise site.error(self._already(other))
            self._sites[name] = site
        if definition is not None:
            entity.doc = definition.doc.to_doc() if definition.doc else None
            entity.condition = definition.condition
            entity.features = definition.features
        self.entities[name] = entity
        self.plans.append(plan)

    def describe(self, entity: Entity) -> str:
        """`entity` in words, e.g. ``struct type 'Foo'``."""
        if isinstance(entity, ArrayType):
            return f"array type ['{entity.name.removesuffix('List')}']"
        kind = "union" if entity.name in self._unions else _KINDS[type(entity)]
        return f"{kind} '{entity.name}'" if kind in _NO_TYPES else f"{kind} type '{entity.name}'"

    def _already(self, other: Entity) -> str:
        site = self._sites.get(other.name)
        if site is None:
            return f"{self.describe(other)} is already defined"
        return f"'{other.name}' is already defined\n{site.error('previous definition')}"

    def _define_enum(self, definition: EnumDefinition) -> None:
        site = definition.site
        entity = EnumType(
            site.name, members=_values(definition.values, site), prefix=definition.prefix
        )
        self._add(entity, EnumPlan(entity, site, definition.doc), definition)

    def _define_struct(self, definition: StructDefinition) -> None:
        site = definition.site
        members = self._members(definition.members, site)
        entity = ObjectType(site.name)
        plan = ObjectPlan(entity, site, definition.doc, definition.base, members)
        self._add(entity, plan, definition)

    def _define_union(self, definition: UnionDefinition) -> None:
        site = definition.site
        entity = ObjectType(site.name)
        self._unions.add(site.name)
        plan = ObjectPlan(entity, site, definition.doc)
        if definition.discriminator is None:
            self._plan_simple_union(plan, definition)
        else:
            plan.tag = definition.discriminator
            plan.base = self._object_name(definition.base, definition, "base")
            plan.branches = definition.branches
        self._add(entity, plan, definition)

    def _plan_simple_union(self, plan: ObjectPlan, definition: UnionDefinition) -> None:
        """A ``type`` member of an enum made of the branches, each type in a ``data`` member."""
        site = definition.site
        branches = []
        for branch in definition.branches:
            assert isinstance(branch.type, TypeName)
            wrapper = self._wrapper(branch.type, site)
            branches.append(MemberPart(branch.name, TypeName(wrapper), condition=branch.condition))
        values = [ValuePart(branch.name, branch.condition) for branch in definition.branches]
        kind = EnumType(f"{site.name}Kind", members=_values(values, site), implicit=True)
        kind.condition = definition.condition
        self._add(kind, EnumPlan(kind, site, None))
        plan.tag = "type"
        plan.members = [MemberPart("type", TypeName(kind.name))]
        plan.branches = branches
        plan.is_simple = True

    def _wrapper(self, type_: TypeName, site: Site) -> str:
        inner = self._type_name(type_, site)
        name = f"q_obj_{inner}-wrapper"
        if name not in self.entities:
            entity = ObjectType(name, implicit=True)
            members = [MemberPart("data", TypeName(inner))]
            plan = ObjectPlan(entity, site, members=members, wrapped=TypeName(inner))
            self._add(entity, plan)
        return name

    def _define_alternate(self, definition: AlternateDefinition) -> None:
        site = definition.site
        alternatives = self._members(definition.alternatives, site)
        entity = AlternateType(site.name)
        self._add(entity, AlternatePlan(entity, site, definition.doc, alternatives), definition)

    def _define_command(self, definition: CommandDefinition) -> None:
        site = definition.site
        arguments = self._object_name(definition.arguments, definition, "arg")
        returns = definition.returns
        if returns is not None:
            returns = TypeName(self._type_name(returns, site))
        entity = Command(
            site.name,
            boxed=definition.boxed,
            gen=definition.gen,
            success_response=definition.success_response,
            allow_oob=definition.allow_oob,
            allow_preconfig=definition.allow_preconfig,
            coroutine=definition.coroutine,
        )
        plan = EventPlan(entity, site, definition.doc, arguments, returns)
        self._add(entity, plan, definition)

    def _define_event(self, definition: EventDefinition) -> None:
        site = definition.site
        arguments = self._object_name(definition.arguments, definition, "arg")
        entity = Event(site.name, boxed=definition.boxed)
        self._add(entity, EventPlan(entity, site, definition.doc, arguments), definition)

    def _object_name(
        self, type_: str | Sequence[MemberPart] | None, definition: Definition, role: str
    ) -> str | None:
        """The name of a type given by name or members; None when it has no members."""
        if not type_:
            return None
        if isinstance(type_, str):
            return type_
        name = f"{definition.site.name}-{role}"
        return self._implicit(name, type_, definition.site, definition.condition)

    def _implicit(
        self,
        name: str,
        members: Sequence[MemberPart],
        site: Site,
        condition: Condition | None = None,
    ) -> str:
        name = f"q_obj_{name}"
        parts = self._members(members, site)
        # Who uses a name twice defines a thing twice, which is told where he does it.
        if name not in self.entities:
            entity = ObjectType(name, condition=condition, implicit=True)
            self._add(entity, ObjectPlan(entity, site, members=parts))
        return name

    def _members(self, members: Sequence[MemberPart], site: Site) -> list[MemberPart]:
        """`members` with the name of a single type each."""
        parts = []
        for member in members:
            if isinstance(member.type, TypeName):
                name = self._type_name(member.type, site)
            else:
                name = self._implicit(f"{site.name}-{member.name}", member.type, site)
            parts.append(
                MemberPart(
                    member.name, TypeName(name), member.optional, member.condition, member.features
                )
            )
        return parts

    def _type_name(self, type_: TypeName, site: Site | None) -> str:
        if not type_.is_array:
            return type_.name
        name = f"{type_.name}List"
        if not isinstance(self.entities.get(name), ArrayType):
            entity = ArrayType(name)
            self._add(entity, ArrayPlan(entity, site, type_.name))
        return name


def _values(values: Sequence[ValuePart], site: Site) -> tuple[EnumMember, ...]:
    return tuple(
        EnumMember(value.name, site.location, value.condition, value.features) for value in values
    )
