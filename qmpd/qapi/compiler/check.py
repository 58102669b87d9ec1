"""Expressions to definitions: everything that can be said without knowing other definitions.

Checks go through a definition in the order of QEMU's compiler, so that of several errors the
same one is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qmpd.qapi.compiler.condition import check_keys, read_condition
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
from qmpd.qapi.compiler.dialect import (
    METATYPES,
    Dialect,
    DocRules,
    Rule,
    is_simple_union,
    is_type_struct,
)
from qmpd.qapi.compiler.doc import DocBlock
from qmpd.qapi.compiler.entities import Condition, Feature
from qmpd.qapi.compiler.naming import check_definition_name, check_lower, is_reserved_member
from qmpd.qapi.compiler.parsed import Expression, Pragma, Value
from qmpd.qapi.compiler.source import Site

# What stood for any JSON value before there was a type for it; only with 'gen': 'no'.
_UNTYPED = frozenset({"**", "visitor", "dict"})
_FLAGS_FALSE = ("gen", "success-response")
_FLAGS_TRUE = ("boxed", "allow-oob", "allow-preconfig", "coroutine")


Build = Callable[[dict[str, Value], Site, DocBlock | None], Definition]


class Checker:
    """Turns expressions into definitions.

    :param dialect: the rules of the schema's age
    :param pragma: the exceptions it asks for
    """

    def __init__(self, dialect: Dialect, pragma: Pragma) -> None:
        self._dialect = dialect
        self._pragma = pragma
        # Of each metatype: keys required, keys allowed, how to read the rest.
        self._kinds: dict[str, tuple[tuple[str, ...], tuple[str, ...], Build]] = {
            "enum": (("data",), ("prefix",), self._enum),
            "struct": (("data",), ("base",), self._struct),
            "union": (("base", "discriminator", "data"), (), self._union),
            "alternate": (("data",), (), self._alternate),
            "command": ((), ("data", "returns", *_FLAGS_FALSE, *_FLAGS_TRUE), self._command),
            "event": ((), ("data", "boxed"), self._event),
        }

    def check(self, expression: Expression, doc: DocBlock | None) -> Definition:
        """The definition that `expression` is, with its doc block.

        :raises QapiError: it breaks a rule
        """
        site, body = self._identify(expression)
        check_definition_name(
            site,
            exempt=site.name in self._pragma.command_name_exceptions,
            strict=self._dialect.names is Rule.STRICT,
            kinds=self._dialect.kinds_reserved,
        )
        if doc is not None:
            doc.check_against(site, returns="returns" in body)
        elif self._pragma.doc_required and self._dialect.docs is not DocRules.COMMENTS:
            raise site.error("documentation comment required")
        required, optional, build = self._kinds[site.meta]
        if site.meta == "union" and is_simple_union(body):
            required = ("data",)
        check_keys(body, site, site.meta, (site.meta, *required), (*optional, "if", "features"))
        definition = build(body, site, doc)
        definition.condition = self._condition(body, site, site.meta)
        definition.features = self._features(body, site)
        _check_flags(body, site)
        return definition

    def _identify(self, expression: Expression) -> tuple[Site, dict[str, Value]]:
        """What is defined, and the body in today's form of it."""
        body = expression.body
        if is_type_struct(expression):
            body = {"struct": body["type"], **{k: v for k, v in body.items() if k != "type"}}
        elif self._dialect.is_2012:
            body = _modernize(body)
        metas = [meta for meta in METATYPES if meta in body]
        if len(metas) != 1:
            listed = ", ".join(f"'{meta}'" for meta in METATYPES)
            message = f"expression must have exactly one key {listed}"
            raise Site(expression.location).error(message)
        (meta,) = metas
        name = body[meta]
        if not isinstance(name, str):
            raise Site(expression.location).error(f"'{meta}' requires a string name")
        return Site(expression.location, meta, name), body

    def _enum(self, body: dict[str, Value], site: Site, doc: DocBlock | None) -> Definition:
        data = body["data"]
        prefix = body.get("prefix")
        if not isinstance(data, list):
            raise site.error("'data' must be an array")
        if prefix is not None and not isinstance(prefix, str):
            raise site.error("'prefix' must be a string")
        values = [self._value(item, site) for item in data]
        return EnumDefinition(site, doc, values, prefix)

    def _value(self, item: Value, site: Site) -> ValuePart:
        what = "'data' member"
        value = item if isinstance(item, dict) else {"name": item}
        check_keys(value, site, what, ("name",), ("if", "features"))
        name = value["name"]
        if not isinstance(name, str):
            raise site.error(f"{what} requires a string name")
        what = f"{what} '{name}'"
        # Values, unlike other names, may start with a digit.
        spelled = f"d{name}" if name[:1].isdigit() else name
        check_lower(spelled, site, what, self._member_rule(site))
        return ValuePart(name, self._condition(value, site, what), self._features(value, site))

    def _struct(self, body: dict[str, Value], site: Site, doc: DocBlock | None) -> Definition:
        members = self._members(body["data"], site, "'data'")
        base = body.get("base")
        if base is not None and not isinstance(base, str):
            raise site.error("'base' should be a type name")
        return StructDefinition(site, doc, members, base)

    def _union(self, body: dict[str, Value], site: Site, doc: DocBlock | None) -> Definition:
        is_simple = "discriminator" not in body
        base = self._name_or_members(body.get("base"), site, "'base'")
        discriminator = body.get("discriminator")
        if not is_simple and not isinstance(discriminator, str):
            raise site.error("'discriminator' requires a string name")
        data = body["data"]
        if not isinstance(data, dict):
            raise site.error("'data' must be an object")
        branches = []
        for name, value in data.items():
            what = f"'data' member '{name}'"
            if is_simple:
                check_lower(name, site, what, self._dialect.names)
            branches.append(self._variant(name, value, site, what, arrays=is_simple))
        tag = discriminator if isinstance(discriminator, str) else None
        return UnionDefinition(site, doc, base, tag, branches)

    def _alternate(self, body: dict[str, Value], site: Site, doc: DocBlock | None) -> Definition:
        data = body["data"]
        if not data:
            raise site.error("'data' must not be empty")
        if not isinstance(data, dict):
            raise site.error("'data' must be an object")
        alternatives = []
        for name, value in data.items():
            what = f"'data' member '{name}'"
            check_lower(name, site, what, self._dialect.names)
            alternatives.append(self._variant(name, value, site, what, arrays=True))
        return AlternateDefinition(site, doc, alternatives)

    def _event(self, body: dict[str, Value], site: Site, doc: DocBlock | None) -> Definition:
        return EventDefinition(site, doc, *self._arguments(body, site))

    def _command(self, body: dict[str, Value], site: Site, doc: DocBlock | None) -> Definition:
        arguments, boxed = self._arguments(body, site)
        returns = body.get("returns")
        return CommandDefinition(
            site,
            doc,
            arguments,
            boxed,
            returns=None if returns is None else _type_name(returns, site, "'returns'"),
            gen="gen" not in body,
            success_response="success-response" not in body,
            allow_oob="allow-oob" in body,
            allow_preconfig="allow-preconfig" in body,
            coroutine="coroutine" in body,
        )

    def _arguments(
        self, body: dict[str, Value], site: Site
    ) -> tuple[str | Sequence[MemberPart] | None, bool]:
        """``data`` and ``boxed`` of a command or event."""
        data = body.get("data")
        if not body.get("boxed"):
            return self._name_or_members(data, site, "'data'"), False
        if data is None:
            raise site.error("'boxed': true requires 'data'")
        if not isinstance(data, str):
            raise site.error("'data' should be a type name")
        return data, True

    def _name_or_members(
        self, value: Value | None, site: Site, what: str
    ) -> str | Sequence[MemberPart] | None:
        if value is None or isinstance(value, str):
            return value
        return self._members(value, site, what)

    def _members(self, value: Value, site: Site, what: str) -> list[MemberPart]:
        """The members of a struct's ``data`` or of an anonymous type."""
        if not isinstance(value, dict):
            raise site.error(f"{what} should be an object or type name")
        return [self._member(key, item, site, what) for key, item in value.items()]

    def _member(self, key: str, item: Value, site: Site, what: str) -> MemberPart:
        what = f"{what} member '{key}'"
        name = key.removeprefix("*")
        check_lower(name, site, what, self._member_rule(site))
        if is_reserved_member(name):
            raise site.error(f"{what} uses reserved name")
        optional = name != key
        body: dict[str, Value] = item if isinstance(item, dict) else {"type": item}
        if self._dialect.is_2012 and not body.keys() <= {"type", "if", "features"}:
            return MemberPart(name, self._members(body, site, what), optional)
        check_keys(body, site, what, ("type",), ("if", "features"))
        condition = self._condition(body, site, what)
        features = self._features(body, site)
        return MemberPart(name, _type_name(body["type"], site, what), optional, condition, features)

    def _variant(
        self, name: str, value: Value, site: Site, what: str, *, arrays: bool
    ) -> MemberPart:
        """A branch of a union or an alternative; `arrays`: may be of an array type."""
        body = value if isinstance(value, dict) else {"type": value}
        check_keys(body, site, what, ("type",), ("if",))
        condition = self._condition(body, site, what)
        type_ = body["type"]
        if not arrays and not isinstance(type_, str):
            raise site.error(f"{what} should be a type name")
        return MemberPart(name, _type_name(type_, site, what), condition=condition)

    def _condition(self, body: Mapping[str, Value], site: Site, what: str) -> Condition | None:
        return read_condition(body, site, what, preprocessor=self._dialect.preprocessor)

    def _features(self, body: Mapping[str, Value], site: Site) -> tuple[Feature, ...]:
        """The ``features`` of `body`.

        :raises QapiError: not a list of names and of objects with name and condition
        """
        value = body.get("features")
        if value is None:
            return ()
        if not isinstance(value, list):
            raise site.error("'features' must be an array")
        features = []
        for item in value:
            what = "'features' member"
            feature = item if isinstance(item, dict) else {"name": item}
            check_keys(feature, site, what, ("name",), ("if",))
            name = feature["name"]
            if not isinstance(name, str):
                raise site.error(f"{what} requires a string name")
            what = f"{what} '{name}'"
            check_lower(name, site, what)
            features.append(Feature(name, self._condition(feature, site, what)))
        return tuple(features)

    def _member_rule(self, site: Site) -> Rule:
        """How names inside of `site` are spelled."""
        # The arguments of commands and events have no type to be named in the pragma.
        is_type = site.meta not in ("command", "event")
        if is_type and site.name in self._pragma.member_name_exceptions:
            return Rule.NONE
        return self._dialect.names


def _modernize(body: dict[str, Value]) -> dict[str, Value]:
    """The forms of QEMU 0.14 to 2.3 in those that replaced them.

    A union with ``'discriminator': {}`` is an alternate, and ``**``, ``visitor`` and ``dict``
    are any value in a command with ``'gen': 'no'``.
    """
    if "union" in body and body.get("discriminator") == {}:
        kept = {k: v for k, v in body.items() if k not in ("union", "discriminator")}
        return {"alternate": body["union"], **kept}
    if body.get("gen") == "no":
        data, returns = body.get("data"), body.get("returns")
        body = dict(body)
        if isinstance(data, dict):
            body["data"] = {k: "any" if _is_untyped(v) else v for k, v in data.items()}
        if _is_untyped(returns):
            body["returns"] = "any"
    return body


def _is_untyped(value: Value | None) -> bool:
    return isinstance(value, str) and value in _UNTYPED


def _type_name(value: Value, site: Site, what: str) -> TypeName:
    if isinstance(value, str):
        return TypeName(value)
    if not isinstance(value, list):
        raise site.error(f"{what} should be a type name or array")
    if len(value) != 1 or not isinstance(value[0], str):
        raise site.error(f"{what}: array type must contain single type name")
    return TypeName(value[0], is_array=True)


def _check_flags(body: Mapping[str, Value], site: Site) -> None:
    for flag in _FLAGS_FALSE:
        # 'no' is how flags were written until QEMU 2.3.
        if flag in body and body[flag] is not False and body[flag] != "no":
            raise site.error(f"flag '{flag}' may only use false value")
    for flag in _FLAGS_TRUE:
        if flag in body and body[flag] is not True:
            raise site.error(f"flag '{flag}' may only use true value")
    if "allow-oob" in body and "coroutine" in body:
        raise site.error("flags 'allow-oob' and 'coroutine' are incompatible")
