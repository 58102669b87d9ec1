"""Entities with their contents: names become types, and the rules between types are checked.

Entities are checked in the order in which they were defined, with what a C struct of theirs
would contain (bases and branches, not members) before them: that of QEMU's compiler, so
that of several errors the same one is reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qmpd.qapi.compiler.define import (
    AlternatePlan,
    ArrayPlan,
    Definer,
    EnumPlan,
    EventPlan,
    ObjectPlan,
    Plan,
)
from qmpd.qapi.compiler.definitions import MemberPart, TypeName
from qmpd.qapi.compiler.dialect import Dialect, Rule
from qmpd.qapi.compiler.doc_claims import DocClaims
from qmpd.qapi.compiler.entities import (
    Alternative,
    ArrayType,
    Branch,
    BuiltinType,
    Command,
    Entity,
    EnumType,
    Feature,
    Member,
    ObjectType,
    Type,
)
from qmpd.qapi.compiler.naming import c_name
from qmpd.qapi.compiler.parsed import Pragma
from qmpd.qapi.compiler.source import Site

SPECIAL_FEATURES = ("deprecated", "unstable")
MAX_FEATURES = 64
_QTYPES = {
    "null": "qnull",
    "string": "qstring",
    "number": "qnum",
    "int": "qnum",
    "boolean": "qbool",
}
_NUMBER_LIKE = re.compile(r"[-+0-9.]")


@dataclass(frozen=True, slots=True)
class _Named:
    """A member (or value, feature, branch) with the type that brings it along."""

    name: str
    role: str
    owner: str
    member: Member | None = None

    def describe(self, site: Site) -> str:
        """In words, for an error at `site`: the owner is told when it is another."""
        role, owner, meta = self.role, self.owner, "type"
        if owner.startswith("q_obj_"):
            owner, _, made_for = owner.removeprefix("q_obj_").rpartition("-")
            if made_for == "arg":
                role, meta = "parameter", "command"
            elif made_for == "base":
                role = f"base {role}"
        elif self.role == "value" and owner == f"{site.name}Kind":
            role, owner = "branch", site.name
        if owner == site.name:
            return f"{role} '{self.name}'"
        return f"{role} '{self.name}' of {meta} '{owner}'"


_Seen = dict[str, _Named]


def _check_clash(named: _Named, site: Site, seen: _Seen) -> None:
    other = seen.setdefault(c_name(named.name), named)
    if other is not named:
        raise site.error(f"{named.describe(site)} collides with {other.describe(site)}")


class Resolver:
    """Completes the entities of a `Definer`.

    :param dialect: the rules of the schema's age
    :param pragma: the exceptions it asks for
    """

    def __init__(self, definer: Definer, dialect: Dialect, pragma: Pragma) -> None:
        self._definer = definer
        self._entities = definer.entities
        self._dialect = dialect
        self._pragma = pragma
        self._objects = {p.entity.name: p for p in definer.plans if isinstance(p, ObjectPlan)}
        # What each finished object type has, with its base; None while it is being worked on.
        self._members: dict[str, list[_Named] | None] = {}

    def resolve(self) -> None:
        """Complete and check all entities.

        :raises QapiError: one breaks a rule
        """
        claims = DocClaims(self._dialect, self._pragma)
        for plan in self._definer.plans:
            self._resolve(plan)
            claims.claim(plan)

    def check_feature_count(self) -> None:
        """Check that the schema's features fit the bit mask of QEMU's C code.

        :raises QapiError: there are more
        """
        first: dict[str, Site | None] = dict.fromkeys(SPECIAL_FEATURES)
        for plan in self._definer.plans:
            for feature in _all_features(plan):
                first.setdefault(feature.name, plan.site)
        if len(first) > MAX_FEATURES and (site := list(first.values())[MAX_FEATURES]):
            raise site.error(f"Maximum of {MAX_FEATURES} schema features is permitted")

    def _resolve(self, plan: Plan) -> None:
        match plan:
            case ArrayPlan():
                self._resolve_array(plan)
            case EnumPlan():
                self._resolve_enum(plan)
            case ObjectPlan():
                self._resolve_object(plan)
            case AlternatePlan():
                self._resolve_alternate(plan)
            case EventPlan():
                self._resolve_event(plan)

    def _type(self, name: str, site: Site | None, what: str) -> Type:
        entity = self._entities.get(name)
        if isinstance(entity, Type):
            return entity
        assert site is not None
        raise site.error(f"{what} uses unknown type '{name}'")

    def _resolve_array(self, plan: ArrayPlan) -> None:
        element = self._type(plan.element, plan.site, plan.site.meta if plan.site else "")
        plan.entity.element = element
        plan.entity.module = element.module

    def _resolve_enum(self, plan: EnumPlan) -> None:
        if plan.site is None:
            return
        _check_type_features(plan.entity, plan.site)
        seen: _Seen = {}
        for value in plan.entity.members:
            _check_clash(_Named(value.name, "value", plan.entity.name), plan.site, seen)

    # Objects

    def _resolve_object(self, plan: ObjectPlan) -> list[_Named]:
        """Complete a type, unless it is; its members with those of its base."""
        entity, site = plan.entity, plan.site
        if (done := self._members.get(entity.name)) is not None:
            return done
        if site is None:
            self._members[entity.name] = []
            return []
        if entity.name in self._members:
            raise site.error(f"object {entity.name} contains itself")
        self._members[entity.name] = None
        _check_type_features(entity, site)
        seen: _Seen = {}
        if plan.base:
            self._resolve_base(plan, plan.base, site, seen)
        entity.local_members = [
            self._member(part, entity.name, site, seen) for part in plan.members
        ]
        members = list(seen.values())
        if plan.wrapped is not None:
            entity.condition = entity.local_members[0].type.condition
        if plan.tag is not None:
            self._resolve_branches(plan, plan.tag, site, seen)
        self._members[entity.name] = members
        return members

    def _resolve_base(self, plan: ObjectPlan, name: str, site: Site, seen: _Seen) -> None:
        base = self._type(name, site, "'base'")
        base_plan = self._objects.get(name)
        if not isinstance(base, ObjectType) or base_plan is None or base_plan.tag is not None:
            described = self._definer.describe(base)
            raise site.error(f"'base' requires a struct type, {described} isn't")
        for named in self._resolve_object(base_plan):
            _check_clash(named, site, seen)
        plan.entity.base = base

    def _member(self, part: MemberPart, owner: str, site: Site, seen: _Seen) -> Member:
        assert isinstance(part.type, TypeName)
        is_wrapper = owner.startswith("q_obj_") and owner.endswith("-wrapper")
        what = site.meta if is_wrapper else _Named(part.name, "member", owner).describe(site)
        type_ = self._type(part.type.name, site, what)
        _check_features(part.features, part.name, site)
        member = Member(
            part.name, type_, part.optional, site.location, part.condition, part.features
        )
        _check_clash(_Named(part.name, "member", owner, member), site, seen)
        return member

    def _resolve_branches(self, plan: ObjectPlan, tag: str, site: Site, seen: _Seen) -> None:
        named = seen.get(c_name(tag))
        if named is None or named.name != tag or named.member is None:
            raise site.error(f"discriminator '{tag}' is not a member of 'base'")
        member, entity = named.member, plan.entity
        names = self._check_discriminator(member, named.owner, site)
        entity.discriminator = member
        branches = []
        given = {part.name for part in plan.branches}
        for part in plan.branches:
            branches.append(self._branch(part, entity.name, names, member.type, site))
        if isinstance(member.type, EnumType):
            for value in member.type.members:
                if value.name not in given:
                    branches.append(Branch(value.name, self._definer.empty, value.condition))
        if not branches:
            raise site.error("union has no branches")
        entity.branches = branches
        for branch in branches:
            self._check_branch_clash(branch.type, site, dict(seen))

    def _check_discriminator(self, member: Member, owner: str, site: Site) -> set[str] | None:
        """The branch names there may be; None: any, the tag being a string (2012)."""
        implicit = owner.startswith("q_obj_")
        base = "'base'" if implicit else f"base type '{owner}'"
        what = f"discriminator member '{member.name}' of {base} must"
        if not isinstance(member.type, EnumType):
            if self._dialect.is_2012 and member.type.name == "str":
                return None
            raise site.error(f"{what} be of enum type")
        if member.optional:
            raise site.error(f"{what} not be optional")
        if member.condition is not None:
            raise site.error(f"{what} not be conditional")
        return {value.name for value in member.type.members}

    def _branch(
        self, part: MemberPart, owner: str, names: set[str] | None, tag_type: Type, site: Site
    ) -> Branch:
        assert isinstance(part.type, TypeName)
        what = _Named(part.name, "branch", owner).describe(site)
        type_ = self._type(part.type.name, site, what)
        if names is not None and part.name not in names:
            described = self._definer.describe(tag_type)
            raise site.error(f"branch '{part.name}' is not a value of {described}")
        if not isinstance(type_, ObjectType):
            raise site.error(f"{what} cannot use {self._definer.describe(type_)}")
        self._resolve_object(self._objects[type_.name])
        return Branch(part.name, type_, part.condition)

    def _check_branch_clash(self, type_: ObjectType, site: Site, seen: _Seen) -> None:
        for named in self._members[type_.name] or ():
            _check_clash(named, site, seen)
        for branch in type_.branches:
            self._check_branch_clash(branch.type, site, dict(seen))

    # Alternates

    def _resolve_alternate(self, plan: AlternatePlan) -> None:
        entity, site = plan.entity, plan.site
        _check_type_features(entity, site)
        parts = [(_Named(part.name, "branch", entity.name), part) for part in plan.alternatives]
        alternatives = []
        for named, part in parts:
            assert isinstance(part.type, TypeName)
            type_ = self._type(part.type.name, site, named.describe(site))
            alternatives.append(Alternative(part.name, type_, part.condition))
        entity.alternatives = alternatives
        seen: _Seen = {}
        taken: dict[str, str] = {}
        for (named, _), alternative in zip(parts, alternatives, strict=True):
            _check_clash(named, site, seen)
            for qtype in self._qtypes(named, alternative.type, site):
                if qtype in taken:
                    raise site.error(
                        f"{named.describe(site)} can't be distinguished from '{taken[qtype]}'"
                    )
                taken[qtype] = alternative.name

    def _qtypes(self, named: _Named, type_: Type, site: Site) -> list[str]:
        """The kinds of JSON value that mean `type_`; strings may also mean what they spell."""
        match type_:
            case ArrayType():
                return ["qlist"]
            case ObjectType():
                return ["qdict"]
            case EnumType():
                values = [value.name for value in type_.members]
                qtypes = ["qstring"]
                if any(value in ("on", "off") for value in values):
                    qtypes.append("qbool")
                if any(_NUMBER_LIKE.match(value) for value in values):
                    qtypes.append("qnum")
                return qtypes
            case BuiltinType() if type_.json_type in _QTYPES:
                qtype = _QTYPES[type_.json_type]
                return ["qstring", "qnum", "qbool"] if qtype == "qstring" else [qtype]
        raise site.error(f"{named.describe(site)} cannot use {self._definer.describe(type_)}")

    # Commands and events

    def _resolve_event(self, plan: EventPlan) -> None:
        entity, site = plan.entity, plan.site
        _check_features(entity.features, entity.name, site)
        if plan.arguments:
            entity.arguments = self._arguments(plan, plan.arguments)
        if isinstance(entity, Command) and plan.returns:
            entity.returns = self._returns(plan.returns.name, site)

    def _arguments(self, plan: EventPlan, name: str) -> ObjectType:
        site, boxed = plan.site, plan.entity.boxed
        what = f"{site.meta}'s 'data'"
        type_ = self._type(name, site, what)
        described = self._definer.describe(type_)
        if not isinstance(type_, ObjectType):
            raise site.error(f"{what} cannot take {described}")
        object_plan = self._objects[name]
        if object_plan.tag is not None and not boxed:
            raise site.error(f"{what} can take {described} only with 'boxed': true")
        members = self._resolve_object(object_plan)
        if not boxed and any(named.member and named.member.condition for named in members):
            raise site.error(f"conditional {site.meta} arguments require 'boxed': true")
        return type_

    def _returns(self, name: str, site: Site) -> Type:
        what = "command's 'returns'"
        type_ = self._type(name, site, what)
        is_checked = self._dialect.names is not Rule.NONE
        if is_checked and site.name not in self._pragma.command_returns_exceptions:
            element = type_
            if isinstance(type_, ArrayType):
                # An array is complete only after its turn, which may come later.
                element = self._type(name.removesuffix("List"), site, what)
            if not isinstance(element, ObjectType):
                raise site.error(f"{what} cannot take {self._definer.describe(type_)}")
        return type_


def _check_features(features: Sequence[Feature], owner: str, site: Site) -> None:
    seen: _Seen = {}
    for feature in features:
        _check_clash(_Named(feature.name, "feature", owner), site, seen)


def _check_type_features(entity: Entity, site: Site) -> None:
    _check_features(entity.features, entity.name, site)
    for feature in entity.features:
        if feature.name in SPECIAL_FEATURES:
            raise site.error(f"feature '{feature.name}' is not supported for types")


def _all_features(plan: Plan) -> Iterable[Feature]:
    yield from plan.entity.features
    match plan:
        case ObjectPlan():
            for part in plan.members:
                yield from part.features
        case EnumPlan():
            for value in plan.entity.members:
                yield from value.features
