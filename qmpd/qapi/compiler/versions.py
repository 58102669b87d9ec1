"""Which version of QEMU a schema is compiled for: conditions ``SINCE_X_Y``, evaluated away.

A schema may hold several versions at once.  Each definition, member, value, branch and feature
that has not always been there says so with the ``if`` of the language: ``'if': 'SINCE_7_2'`` for
what came with 7.2, ``'if': { 'not': 'SINCE_9_0' }`` for what 9.0 no longer has.  Before anything
else looks at the definitions, `select` takes out what the version wanted does not have, so that the
compiler's rules hold for each version by itself.  Other symbols are left as they are.

Two things that the language cannot say are said in its style.  A key may stand twice in an
object when its values exclude each other: a member whose type or place changed, a definition
whose base did.  And what a definition has besides its parts (its flags, ``returns``, ``base``)
carries a condition as ``{ 'value': X, 'if': ... }``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from qmpd.qapi.compiler.parsed import Expression, ParsedSchema, Value

Release = tuple[int, int]
"""A release of QEMU: major and minor number."""

_SYMBOL: Final = re.compile(r"SINCE_(\d+)_(\d+)")
_PARTS: Final = ("data", "base", "features")
"""Keys of a definition whose values have parts with conditions of their own."""


def parse_release(text: str) -> Release:
    """The release named ``X.Y`` (what follows is no matter).

    :raises ValueError: not of this form
    """
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


class Again(str):
    """A key that stands in its object already; equal to nothing but itself."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    __hash__ = object.__hash__


def releases(schema: ParsedSchema) -> list[Release]:
    """The releases with which something changes in `schema`, in order."""
    found = {
        release for expression in schema.expressions for release in _mentioned(expression.body)
    }
    return sorted(found)


def depends(value: Value | None) -> bool:
    """Whether there is an object with a condition of this kind."""
    return isinstance(value, dict) and any(True for _ in _symbols(value.get("if")))


def select(schema: ParsedSchema, release: Release) -> None:
    """Take out of `schema` what `release` does not have."""
    gone: set[int] = set()
    kept = []
    for expression in schema.expressions:
        if _pruned(expression, release):
            kept.append(expression)
        elif expression.doc is not None:
            gone.add(id(expression.doc))
    schema.expressions[:] = kept
    schema.docs[:] = [doc for doc in schema.docs if id(doc) not in gone]


def _symbols(condition: Value | None) -> Iterator[Release]:
    match condition:
        case str():
            found = _SYMBOL.fullmatch(condition)
            if found:
                yield int(found[1]), int(found[2])
        case list():
            for item in condition:
                yield from _symbols(item)
        case dict():
            for item in condition.values():
                yield from _symbols(item)


def _mentioned(value: Value) -> Iterator[Release]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _symbols(item) if key == "if" else _mentioned(item)
    elif isinstance(value, list):
        for item in value:
            yield from _mentioned(item)


def _holds(condition: Value, release: Release) -> Value:
    """What is left of `condition`: True, False, or the part that does not concern releases."""
    if isinstance(condition, str):
        found = _SYMBOL.fullmatch(condition)
        return condition if found is None else release >= (int(found[1]), int(found[2]))
    if not isinstance(condition, dict) or len(condition) != 1:
        return condition
    ((operator, operand),) = condition.items()
    if operator == "not":
        rest = _holds(operand, release)
        return not rest if isinstance(rest, bool) else {"not": rest}
    if not isinstance(operand, list):
        return condition
    left = [_holds(item, release) for item in operand]
    # what decides it at once: False where all must hold, True where any has to
    decisive = operator == "any"
    if decisive in left:
        return decisive
    undecided: list[Value] = [item for item in left if not isinstance(item, bool)]
    if not undecided:
        return not decisive
    return undecided[0] if len(undecided) == 1 else {operator: undecided}


def _kept(body: dict[str, Value], release: Release) -> bool:
    """Whether `release` has what `body` is the definition of; what is left of its condition."""
    if not depends(body):
        return True
    rest = _holds(body["if"], release)
    if isinstance(rest, bool):
        del body["if"]
        return rest
    body["if"] = rest
    return True


def _pruned(expression: Expression, release: Release) -> bool:
    """Take out the parts that `release` lacks; False when it lacks the whole definition."""
    body = expression.body
    if not _kept(body, release):
        return False
    for key in list(body):
        item = body[key]
        if isinstance(item, dict) and item.keys() == {"value", "if"} and depends(item):
            del body[key]
            if _kept(item, release):
                body[str(key)] = item["value"]
    parts = _Parts(release)
    for key in _PARTS:
        if key in body:
            body[key] = parts.of(body[key], features=key == "features")
    expression.gone_members = parts.members.gone
    expression.gone_features = parts.features.gone
    return True


class _Names:
    """Names of parts of one kind, kept and taken out."""

    def __init__(self) -> None:
        self._kept: set[str] = set()
        self._gone: set[str] = set()

    def note(self, name: str, *, kept: bool) -> None:
        (self._kept if kept else self._gone).add(name)

    @property
    def gone(self) -> frozenset[str]:
        return frozenset(self._gone - self._kept)


class _Parts:
    """Takes parts of one definition out."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self.members = _Names()
        self.features = _Names()

    def of(self, value: Value, *, features: bool = False) -> Value:
        """What is left of members, values, branches or features."""
        if isinstance(value, dict):
            return dict(self._object(value))
        if isinstance(value, list):
            return list(self._list(value, self.features if features else self.members))
        return value

    def _object(self, members: Mapping[str, Value]) -> Iterator[tuple[str, Value]]:
        for key, item in members.items():
            kept, rest = self._part(item, "type")
            self.members.note(key.removeprefix("*"), kept=kept)
            if kept:
                yield str(key), rest

    def _list(self, items: Sequence[Value], names: _Names) -> Iterator[Value]:
        for item in items:
            kept, rest = self._part(item, "name")
            name = item.get("name") if isinstance(item, dict) else item
            if isinstance(name, str):
                names.note(name, kept=kept)
            if kept:
                yield rest

    def _part(self, item: Value, essence: str) -> tuple[bool, Value]:
        """Whether a part stays, and what it then is: where nothing else is said, its essence."""
        if not isinstance(item, dict):
            return True, item
        if not _kept(item, self._release):
            if "features" in item:
                self._inner_features(item, kept=False)
            return False, item
        if "features" in item:
            self._inner_features(item, kept=True)
        return True, item[essence] if item.keys() == {essence} else item

    def _inner_features(self, item: dict[str, Value], *, kept: bool) -> None:
        features = item["features"]
        if not isinstance(features, list):
            return
        if not kept:
            for feature in features:
                name = feature.get("name") if isinstance(feature, dict) else feature
                if isinstance(name, str):
                    self.features.note(name, kept=False)
            return
        item["features"] = list(self._list(features, self.features))
        if not item["features"]:
            del item["features"]
