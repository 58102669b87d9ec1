from __future__ import annotations

import json
import math
import sys
from enum import IntEnum, StrEnum
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.base.qdict import bucket
from qmpd.wire import encode
from qmpd.wire.encode import Raw, dumps


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    ON = "on"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, b"null"),
        (True, b"true"),
        (False, b"false"),
        (0, b"0"),
        (-(2**63), b"-9223372036854775808"),
        (2**64 - 1, b"18446744073709551615"),
        (0.1, b"0.10000000000000001"),
        (1e23, b"9.9999999999999992e+22"),
        (1e22, b"1e+22"),
        (100.0, b"100"),
        (-0.0, b"-0"),
        (1e-7, b"9.9999999999999995e-08"),
        (math.inf, b"inf"),
        (-math.inf, b"-inf"),
        ("", b'""'),
        ('"\\/\b\f\n\r\t', b'"\\"\\\\/\\b\\f\\n\\r\\t"'),
        ("\0\x1f\x7f", b'"\\u0000\\u001F\\u007F"'),
        ("é€😀", b'"\\u00E9\\u20AC\\uD83D\\uDE00"'),
        ("\ufffd", b'"\\uFFFD"'),
        ("\ufdd0\uffff\U0001fffe", b'"\\uFFFD\\uFFFD\\uFFFD"'),
        ("\ud83d\udcff", b'"\\uD83D\\uDCFF"'),
        ("\udcffx", b'"\\uFFFDx"'),
        ("\\u00e9", b'"\\\\u00e9"'),
        ("\\\\u00e9é", b'"\\\\\\\\u00e9\\u00E9"'),
        ({}, b"{}"),
        ([], b"[]"),
        ((1, "a"), b'[1, "a"]'),
        ({"z": 1, "y": 2, "x": 3, "a": {}}, b'{"x": 3, "a": {}, "y": 2, "z": 1}'),
        ({"100%": "%s", "é%d": 1}, None),
        ({"major": 10, "minor": 0, "micro": 2}, b'{"micro": 2, "minor": 0, "major": 10}'),
        (Level.HIGH, b"3"),
        (Word.ON, b'"on"'),
        ([Level.HIGH, Word.ON], b'[3, "on"]'),
        (MappingProxyType({"a": 1}), b'{"a": 1}'),
        (Raw({"b": 1, "a": [2]}), b'{"a": [2], "b": 1}'),
        ([Raw("é"), Raw([])], b'["\\u00E9", []]'),
    ],
)  # fmt: skip
def test_values(value: object, text: bytes | None) -> None:
    if text is None:
        assert json.loads(dumps(value)) == value
    else:
        assert dumps(value) == text
        assert encode.joined(encode.large(value)) == text


@pytest.mark.parametrize("value", [object(), b"x", {1}, [object()], {"a": b""}])
def test_what_is_no_json(value: object) -> None:
    with pytest.raises(TypeError, match="no JSON value"):
        dumps(value)
    with pytest.raises(TypeError, match="no JSON value"):
        dumps(value, pretty=True)


PRETTY = {
    "return": [{"a": {}, "b": []}, 1, [[]]],
    "id": "x",
}

PRETTY_TEXT = """{
    "return": [
        {
            "a": {
            },
            "b": [
            ]
        },
        1,
        [
            [
            ]
        ]
    ],
    "id": "x"
}"""


def test_pretty() -> None:
    text = PRETTY_TEXT.replace("\n", "\r\n").encode()
    assert dumps(PRETTY, pretty=True) == text
    assert dumps({**PRETTY, "return": Raw(PRETTY["return"])}, pretty=True) == text
    assert dumps({}, pretty=True) == b"{\r\n}"
    assert dumps([], pretty=True) == b"[\r\n]"
    assert dumps(5, pretty=True) == b"5"


def test_raw_is_encoded_once() -> None:
    value = [1]
    raw = Raw(value)
    before = (dumps(raw), dumps(raw, pretty=True))
    value.append(2)
    assert (dumps(raw), dumps(raw, pretty=True)) == before


@pytest.mark.parametrize("depth", [400, 1100, 5000])
def test_deep_values(depth: int) -> None:
    value: object = 1
    for level in range(depth):
        value = {"a": value} if level % 2 else [value]
    text = dumps(value).decode()
    assert text.count("[") == text.count("]") == (depth + 1) // 2
    assert text.count('{"a": ') == text.count("}") == depth // 2
    assert dumps(value, pretty=True).count(b"\r\n") == 2 * depth


def test_kept_shapes_are_bounded() -> None:
    for number in range(encode._SHAPES + 500):
        dumps({f"key{number}": 1, "x": 2})
    dumps({f"{number}": number for number in range(10_000)})
    info = encode._kept_shape.cache_info()
    assert info.currsize == info.maxsize == encode._SHAPES


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cn"]), max_size=6)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def _in_order(pairs: list[tuple[str, object]]) -> dict[str, object]:
    buckets = [bucket(name) for name, _ in pairs]
    assert buckets == sorted(buckets)
    return dict(pairs)


@given(values, st.booleans())
def test_the_text_is_json_of_the_same_value(value: object, pretty: bool) -> None:
    text = dumps(value, pretty)
    assert text.isascii()
    assert json.loads(text, object_pairs_hook=_in_order) == value


@given(values)
def test_with_and_without_recursion(value: object) -> None:
    assert dumps(value) == encode.joined(encode.large(value))


members = st.fixed_dictionaries(
    {"node-name": values, "ro": st.just(True) | st.just(1) | st.just(1.0), "same": st.just("é")},
    optional={"cache": st.just({"direct": False, "no-flush": True}), "image": values},
)


@given(st.lists(members, max_size=4), st.lists(members | values, max_size=4))
def test_long_arrays_are_those_of_their_elements(
    common: list[dict[str, object]], others: list[object]
) -> None:
    value = common * encode._LONG + others + common
    parts = [dumps(element) for element in value]
    assert dumps(value) == b"[" + b", ".join(parts) + b"]"
    assert dumps({"x": [{"in": e} for e in value]}) == b'{"x": [%s]}' % b", ".join(
        b'{"in": %s}' % part for part in parts
    )


def test_long_names_are_not_kept() -> None:
    name = "x" * 5000
    before = sys.getrefcount(name)
    for _ in range(2):
        assert dumps({name: 1, "a": 2}) == b'{"a": 2, "%s": 1}' % name.encode()
        assert dumps({"in": [{name: 1}] * 20}, pretty=True)
    assert sys.getrefcount(name) == before
