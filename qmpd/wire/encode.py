"""From values to QEMU's JSON text: its member order, escapes, numbers and layout.

Objects with the same set of members come again and again, so each such shape is compiled once: the
member order, and a format string for the whole object.  Long arrays of objects, such as the reply
of query-named-block-nodes, are encoded member by member.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from json.encoder import encode_basestring_ascii
from operator import itemgetter
from typing import Any, Final, NamedTuple

from qmpd.base.qdict import member_order
from qmpd.wire.unicode import is_character

_SHAPES: Final = 1024
"""Number of shapes that are cached: ids of clients can have any shape."""

_LONGEST_SHAPE: Final = 64
"""Largest number of members of an object whose shape is cached."""

_LONGEST_NAMES: Final = 1 << 12
"""Most characters of all their names, which clients can make up."""

_LONG: Final = 16
"""Number of elements from which an array is encoded member by member."""

_STEP: Final = 1 << 14
"""Characters of a string that are encoded at a time."""

_PLAIN_KINDS: Final = frozenset({str, int, bool, type(None)})
"""Types whose equal values have the same text."""

_ESCAPE: Final = re.compile(
    r"\\(?:u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|u([0-9a-f]{4})|[^u])"
)

_REPLACEMENT: Final = "\\uFFFD"


class Raw:
    """A value that is sent often and never changes: it is encoded once.

    :param value: any value that `dumps` takes
    """

    __slots__ = ("_plain", "_pretty", "value")

    def __init__(self, value: object) -> None:
        self.value = value
        self._plain: str | None = None
        self._pretty: str | None = None

    @property
    def plain(self) -> str:
        """Its text on one line."""
        if self._plain is None:
            self._plain = plain(self.value)
        return self._plain

    def pretty(self, level: int) -> str:
        """Its indented text inside `level` containers."""
        if self._pretty is None:
            self._pretty = dumps(self.value, pretty=True).decode()
        return self._pretty.replace("\r\n", _newline(level))


def dumps(value: object, pretty: bool = False) -> bytes:
    """The text of `value` as QEMU prints it, ASCII only, without a newline at its end.

    However large `value` is, other threads can go on meanwhile.

    :param value: None, bool, int, float, str, `Raw`, or dicts, lists and tuples of these; dicts
        have their members in the order in which QEMU inserts them
    :param pretty: spread it over lines, as a monitor does with ``pretty=on``
    :raises TypeError: for any other value
    """
    return joined(_spread(value, pretty)) if pretty else plain(value).encode()


def plain(value: object) -> str:
    """The text of `value` on one line; see `dumps`."""
    try:
        return _corrected(ENCODERS[type(value)](value))
    except RecursionError:
        return "".join(large(value))


def large(value: object) -> list[str]:
    """What `plain` returns, in pieces made in small steps: other threads can go on meanwhile."""
    return _spread(value, pretty=False)


def joined(pieces: Iterable[str]) -> bytes:
    """Pieces of a text in one; other threads can go on meanwhile, as with bytes only."""
    return b"".join([piece.encode() for piece in pieces])


def _correct(escape: re.Match[str]) -> str:
    """QEMU's form of an escape of Python's: upper case, and U+FFFD for noncharacters."""
    leading, trailing, single = escape.groups()
    if leading is not None:
        code = 0x10000 + ((int(leading, 16) & 0x3FF) << 10) + (int(trailing, 16) & 0x3FF)
        pair = f"\\u{leading.upper()}\\u{trailing.upper()}"
        return pair if is_character(code) else _REPLACEMENT
    if single is None:
        return escape[0]
    return f"\\u{single.upper()}" if is_character(int(single, 16)) else _REPLACEMENT


def _corrected(text: str) -> str:
    # a single character is found many times faster than two
    return _ESCAPE.sub(_correct, text) if "\\" in text and "\\u" in text else text


def _raw(value: Raw) -> str:
    return value.plain


class _Shape(NamedTuple):
    names: tuple[str, ...]
    """The members in QEMU's order."""
    values: Callable[[Mapping[str, object]], tuple[object, ...]]
    """Takes their values from an object."""
    template: str
    """The object's text with a ``%s`` for each value."""


def _all_values(value: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(value.values())


def _make_shape(names: tuple[str, ...]) -> _Shape:
    ordered = tuple(member_order(names))
    values = itemgetter(*ordered) if len(ordered) > 1 else _all_values
    members = [encode_basestring_ascii(name).replace("%", "%%") + ": %s" for name in ordered]
    return _Shape(ordered, values, "{" + ", ".join(members) + "}")


class _NotKept(Exception):
    """A shape that is not worth the memory."""


@lru_cache(_SHAPES)
def _kept_shape(names: tuple[str, ...]) -> _Shape:
    if len(names) > _LONGEST_SHAPE or sum(map(len, names)) > _LONGEST_NAMES:
        raise _NotKept
    return _make_shape(names)


def _shape(names: tuple[str, ...]) -> _Shape:
    try:
        return _kept_shape(names)
    except _NotKept:
        return _make_shape(names)


def _order(names: tuple[str, ...]) -> Sequence[str]:
    try:
        return _kept_shape(names).names
    except _NotKept:
        return member_order(names)


def _object(value: Mapping[str, object]) -> str:
    if not value:
        return "{}"
    _, values, template = _shape(tuple(value))
    encoders = ENCODERS
    return template % tuple([encoders[type(member)](member) for member in values(value)])


def _array(value: Sequence[Any]) -> str:
    if len(value) >= _LONG and set(map(type, value)) == {dict}:
        return "[" + ", ".join(_objects(value)) + "]"
    encoders = ENCODERS
    return "[" + ", ".join([encoders[type(element)](element) for element in value]) + "]"


def _objects(values: Sequence[Mapping[str, object]]) -> list[str]:
    """The texts of many objects; those with the same members are encoded together."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, names in enumerate(map(tuple, values)):
        alike.setdefault(names, []).append(place)
    texts = [""] * len(values)
    for names, places in alike.items():
        same = [values[place] for place in places]
        if len(same) < _LONG or len(names) < 2:
            done: Iterable[str] = map(_object, same)
        else:
            text = _alike(names, same)
            done = repeat(text, len(same)) if isinstance(text, str) else text
        for place, text in zip(places, done, strict=True):
            texts[place] = text
    return texts


def _alike(names: tuple[str, ...], values: Sequence[Mapping[str, object]]) -> str | list[str]:
    """The texts of many objects with members `names`; a single text if they are all equal.

    They are encoded member by member: most members have one type in all objects, and many have one
    value, so that little is left to do for each object.
    """
    ordered, take, _ = _shape(names)
    pieces: list[str | list[str]] = []
    between = "{"
    for name, column in zip(ordered, zip(*map(take, values), strict=True), strict=True):
        between += encode_basestring_ascii(name) + ": "
        text = _column(column)
        if isinstance(text, str):
            between += text + ", "
        else:
            pieces += [between, text]
            between = ", "
    pieces.append(between.removesuffix(", ") + "}")
    if len(pieces) == 1:
        return pieces[0]
    count = len(values)
    rows = zip(*(repeat(p, count) if isinstance(p, str) else p for p in pieces), strict=True)
    return list(map("".join, rows))


def _column(values: tuple[Any, ...]) -> str | list[str]:
    """The texts of many values; a single text if they are all equal."""
    kinds = set(map(type, values))
    if len(kinds) > 1:
        encoders = ENCODERS
        return [encoders[type(value)](value) for value in values]
    kind = kinds.pop()
    encode = ENCODERS[kind]
    if kind in _PLAIN_KINDS and values.count(values[0]) == len(values):
        return encode(values[0])
    if kind is dict:
        first = values[0]
        if first is values[-1] and len(set(map(id, values))) == 1:
            return encode(first)
        names = tuple(first)
        if len(names) > 1 and all(map(names.__eq__, map(tuple, values))):
            return _alike(names, values)
    return list(map(encode, values))


class _Encoders(dict[type, Callable[..., str]]):
    """Encoders by exact type; a subclass (an enum, say) is encoded as what it derives from."""

    def __missing__(self, kind: type) -> Callable[..., str]:
        for base in kind.__mro__:
            if base in self:
                return int.__repr__ if base is int else self[base]
        if issubclass(kind, Mapping):
            return _object
        raise TypeError(f"no JSON value: {kind.__name__}")


ENCODERS: Final = _Encoders(
    {
        str: encode_basestring_ascii,
        int: repr,
        bool: {False: "false", True: "true"}.__getitem__,
        type(None): {None: "null"}.__getitem__,
        float: "%.17g".__mod__,
        dict: _object,
        list: _array,
        tuple: _array,
        Raw: _raw,
    }
)
"""What encodes a value of each type on one line; escapes are not `_corrected` yet."""


def _newline(level: int) -> str:
    return "\r\n" + "    " * level


def _scalar(value: Any) -> Iterable[str]:
    """The text of what contains nothing, in pieces made in small steps."""
    if not isinstance(value, str):
        return (_corrected(ENCODERS[type(value)](value)),)
    if len(value) <= _STEP:
        return (_corrected(encode_basestring_ascii(value)),)
    pieces = [_piece(value[start : start + _STEP]) for start in range(0, len(value), _STEP)]
    return ('"', *pieces, '"')


def _piece(text: str) -> str:
    """A piece of a string, without quotes."""
    if text.isascii():
        return _corrected(encode_basestring_ascii(text))[1:-1]
    table = {ord(one): _corrected(encode_basestring_ascii(one))[1:-1] for one in set(text)}
    return text.translate(table)


def _spread(value: object, pretty: bool) -> list[str]:
    """Encode without recursion, on lines of their own or on one; returns pieces of the text."""
    text: list[str] = []
    todo: list[str | tuple[object, int]] = [(value, 0)]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            text.append(item)
            continue
        value, level = item
        if isinstance(value, Mapping):
            names = tuple(value)
            members = [("".join(_scalar(name)) + ": ", value[name]) for name in _order(names)]
            brackets = "{}"
        elif isinstance(value, list | tuple):
            members = [("", element) for element in value]
            brackets = "[]"
        else:
            if pretty and isinstance(value, Raw):
                text.append(value.pretty(level))
            else:
                text += _scalar(value)
            continue
        text.append(brackets[0])
        todo.append((_newline(level) if pretty else "") + brackets[1])
        inner = _newline(level + 1) if pretty else ""
        for index in range(len(members) - 1, -1, -1):
            name, member = members[index]
            todo.append((member, level + 1))
            todo.append(("," + (inner or " ") if index else inner) + name)
    return text
