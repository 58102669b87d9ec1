"""pydantic models of QAPI types, each made when it is first asked for.

`qmpd.profile.models` declares the models in stub files, generated from the schema; the
classes themselves come from here, out of the same type table.  A class is made when
its name is first used, and built by pydantic when it first validates: making and
building all of them would cost most of a second, a command needs a few.

How QAPI types appear in Python:

* a struct is a class; one with a base inherits from the base's class
* an optional member that is absent is None (`model_fields_set` tells it from a null), and so
  is a member that only other versions of the schema have
* a union is a class with the common members; a value of it is an instance of that
  class and of the branch's struct at once, so ``isinstance(options, BlockdevOptionsQcow2)``
  tells which branch it is and gives access to its members
* an enum is a ``Literal`` of strings, an alternate a value of one of its types
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, core_schema

from qmpd.qapi.runtime.type_table import (
    INT_RANGES,
    AlternateInfo,
    EnumInfo,
    MemberInfo,
    ObjectInfo,
    TypeTable,
    array_element,
    json_kind,
)
from qmpd.qapi.runtime.words import attribute_name, module_name

Validate = Callable[[Any], Any]
"""Turns a JSON value into a validated one; raises ValueError (pydantic's too)."""


class Struct(BaseModel):
    """Base of all models: exact JSON types, no unknown members."""

    model_config = ConfigDict(
        defer_build=True, extra="forbid", strict=True, serialize_by_alias=True
    )

    def plain(self) -> dict[str, Any]:
        """The value as plain JSON data: QAPI's member names, absent members left out."""
        return self.model_dump(exclude_unset=True)


class TaggedUnion(Struct):
    """Base of unions: validating gives an instance of the class for the branch."""

    choose_branch: ClassVar[Validate | None] = None

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler, /
    ) -> CoreSchema:
        """Choose lazily for the union itself; as any struct for a branch of it."""
        choose = cls.__dict__.get("choose_branch")
        if choose is None:
            return handler(source)
        return core_schema.no_info_plain_validator_function(choose)


class _Checked:
    """Annotation for a value that a function validates."""

    def __init__(self, validate: Validate) -> None:
        self._validate = validate

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._validate)


class _Integer:
    """Annotation for an integer of one of QAPI's types."""

    def __init__(self, type_name: str) -> None:
        self._low, self._high = INT_RANGES[type_name]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.int_schema(strict=True, ge=self._low, le=self._high)


Int8 = Annotated[int, _Integer("int8")]
Int16 = Annotated[int, _Integer("int16")]
Int32 = Annotated[int, _Integer("int32")]
Int64 = Annotated[int, _Integer("int64")]
Uint8 = Annotated[int, _Integer("uint8")]
Uint16 = Annotated[int, _Integer("uint16")]
Uint32 = Annotated[int, _Integer("uint32")]
Uint64 = Annotated[int, _Integer("uint64")]
Size = Annotated[int, _Integer("size")]

_BUILTINS: Mapping[str, Any] = {
    "str": str,
    "bool": bool,
    "number": float,
    "null": None,
    "any": Any,
    "int": Int64,
    "int8": Int8,
    "int16": Int16,
    "int32": Int32,
    "int64": Int64,
    "uint8": Uint8,
    "uint16": Uint16,
    "uint32": Uint32,
    "uint64": Uint64,
    "size": Size,
}


class ModelBuilder:
    """Makes the models of one type table, and keeps them.

    :param table: the types
    :param package: the package whose modules the classes say they belong to
    """

    def __init__(self, table: TypeTable, package: str) -> None:
        self._table = table
        self._package = package
        self._classes: dict[str, type[Struct]] = {}
        self._validators: dict[str, Validate] = {}
        self._started: set[str] = set()

    def model(self, name: str) -> Any:
        """The Python type for the defined type `name`; KeyError when there is none.

        A class for a struct or union, an annotation for an enum or alternate.
        """
        info = self._table[name]
        return self._class(info) if isinstance(info, ObjectInfo) else self._annotation(name)

    def validator(self, type_name: str) -> Validate:
        """The function that validates a value of type `type_name` (a reference)."""
        validate = self._validators.get(type_name)
        if validate is None:
            validate = self._validators[type_name] = self._make_validator(type_name)
        return validate

    def _make_validator(self, type_name: str) -> Validate:
        info = self._table.get(type_name)
        if isinstance(info, ObjectInfo):
            return self._union(info) if info.tag is not None else _built(self._class(info))
        if isinstance(info, AlternateInfo):
            return self._alternate(info)
        model = create_model("Value", value=(self._annotation(type_name), ...), __base__=Struct)
        validate = _built(model)
        return lambda value: validate({"value": value}).value

    def _class(self, info: ObjectInfo) -> type[Struct]:
        made = self._classes.get(info.name)
        if made is not None:
            return made
        self._started.add(info.name)
        base = Struct if info.tag is None else TaggedUnion
        if info.base is not None:
            parent = self._class(self._table.object(info.base))
            bases: tuple[type[Struct], ...] = (parent,) if info.tag is None else (parent, base)
        else:
            bases = (base,)
        made = self._create(info.name, info.module, bases, self._fields(info.local))
        for attribute in info.absent:
            type.__setattr__(made, attribute, None)
        if info.tag is not None:
            type.__setattr__(made, "choose_branch", staticmethod(self._union(info)))
        self._classes[info.name] = made
        return made

    def _create(
        self, name: str, module: str, bases: tuple[type[Struct], ...], fields: dict[str, Any]
    ) -> type[Struct]:
        where = f"{self._package}.{module_name(module)}"
        return create_model(name, __base__=bases, __module__=where, **fields)

    def _fields(self, members: tuple[MemberInfo, ...]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for member in members:
            attribute = attribute_name(member.name)
            default = None if member.optional else ...
            annotation = self._annotation(member.type, lazy=member.optional)
            alias = None if attribute == member.name else member.name
            fields[attribute] = (annotation, Field(default, alias=alias))
        return fields

    def _annotation(self, type_name: str, *, lazy: bool = False) -> Any:
        """What a member of type `type_name` is annotated with.

        :param lazy: make structs only when a value comes
        """
        element = array_element(type_name)
        if element is not None:
            return list[self._annotation(element, lazy=lazy)]  # type: ignore[misc]
        if type_name not in self._table:
            return _BUILTINS[type_name]
        info = self._table[type_name]
        if isinstance(info, EnumInfo):
            return Literal[tuple(info.values)]
        if isinstance(info, ObjectInfo) and info.tag is None and not lazy:
            started = info.name in self._started and info.name not in self._classes
            if not started:
                return self._class(info)
        return Annotated[Any, _Checked(self._deferred(type_name))]

    def _deferred(self, type_name: str) -> Validate:
        def validate(value: Any) -> Any:
            return self.validator(type_name)(value)

        return validate

    def _alternate(self, info: AlternateInfo) -> Validate:
        def validate(value: Any) -> Any:
            return self.validator(info.by_kind[json_kind(value)])(value)

        def checked(value: Any) -> Any:
            try:
                return validate(value)
            except KeyError:
                raise ValueError(f"no {info.name}") from None

        return checked

    def _union(self, info: ObjectInfo) -> Validate:
        return self._chooser(info, (), {})

    def _chooser(
        self, info: ObjectInfo, outer: tuple[type[Struct], ...], tags: dict[str, Any]
    ) -> Validate:
        """Chooses the class for a branch of `info` by the discriminator.

        :param outer: classes of the unions of which `info` is a branch
        :param tags: fields of their discriminators
        """
        tag = info.tag
        assert tag is not None
        chosen: dict[str, Validate] = {}

        def validate(value: Any) -> Any:
            try:
                branch = value[tag]
                known = chosen.get(branch)
            except (TypeError, KeyError):
                raise ValueError(f"{info.name} without {tag}") from None
            if known is None:
                known = chosen[branch] = self._branch(info, branch, outer, tags)
            return known(value)

        return validate

    def _branch(
        self, info: ObjectInfo, value: str, outer: tuple[type[Struct], ...], tags: dict[str, Any]
    ) -> Validate:
        """The validator of one branch; ValueError when the enum has no such value."""
        assert info.tag is not None
        member = next(m for m in info.members if m.name == info.tag)
        enum = self._table[member.type]
        assert isinstance(enum, EnumInfo)
        if value not in enum.values:
            raise ValueError(f"no {enum.name}: {value}")
        alias = None if attribute_name(member.name) == member.name else member.name
        tags = {**tags, attribute_name(member.name): (Literal[value], Field(alias=alias))}
        bases = (self._class(info), *outer)
        branch = info.branches.get(value)
        if branch is not None:
            further = self._table.object(branch)
            if further.tag is not None:
                return self._chooser(further, bases, tags)
            bases = (self._class(further), *bases)
        return _built(self._create(f"{info.name}.{value}", info.module, bases, tags))


def _built(model: type[Struct]) -> Validate:
    """The validation function of `model`, which pydantic builds now."""
    model.model_rebuild()
    return model.__pydantic_validator__.validate_python
