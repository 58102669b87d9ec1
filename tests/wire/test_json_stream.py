from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.errors import QmpError
from qmpd.wire import json_lexer, json_stream
from qmpd.wire.encode import dumps
from qmpd.wire.json_stream import NEED_MORE, JsonStream, parse_json

P = "JSON parse error, "


def read(*pieces: bytes, exact: bool = False) -> list[Any]:
    """Values, and texts of errors as ('error', text)."""
    stream = JsonStream()
    found: list[Any] = []
    for piece in pieces:
        stream.feed(piece)
        if exact:
            stream._failures = 16
        while (result := stream.next()) is not NEED_MORE:
            if isinstance(result, QmpError):
                assert result.error_class == "GenericError"
                found.append(("error", result.desc))
            else:
                found += result
    return found


def same(left: object, right: object) -> bool:
    """Equal, and so are the types inside, the order of members and the signs of zeros."""
    return repr(left) == repr(right)


def errors(*texts: str) -> list[tuple[str, str]]:
    return [("error", text) for text in texts]


def slowly(data: bytes) -> list[Any]:
    return read(*(data[index : index + 1] for index in range(len(data))))


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b"nul ", ["invalid keyword 'nul'"]),
        (b"trailing\n", ["invalid keyword 'trailing'"]),
        (b'{"a" 1}', ["missing : in object pair"]),
        (b'{"a"}', ["missing : in object pair"]),
        (b'{"a":}', ["expecting value"]),
        (b'{"a":1,}', ["expecting value"]),
        (b"[1,]", ["expecting value"]),
        (b"[,]", ["expecting value"]),
        (b"}", ["expecting value"]),
        (b"]", ["expecting value"]),
        (b":", ["expecting value"]),
        (b",", ["expecting value"]),
        (b'{"a":1 "b":2}', ["expected separator in dict"]),
        (b'{"a":1]', ["expected separator in dict"]),
        (b"[1 2]", ["expected separator in list"]),
        (b'{"a":[1}]', ["expected separator in list"]),
        (b"[}", ["expecting value"]),
        (b"[[}", ["expecting value"]),
        (b"{]", ["expecting value"]),
        (b"{[1 2]:3}", ["expected separator in list"]),
        (b"{1:2}", ["key is not a string in object"]),
        (b"{[]:2}", ["key is not a string in object"]),
        (b"{{}:2}", ["key is not a string in object"]),
        (b"{nul:1}", ["invalid keyword 'nul'"]),
        (b"{,}", ["expecting value"]),
        (b'{"a":1,"a":2}', ["duplicate key"]),
        (b'{"a":1,"\\u0061":2}', ["duplicate key"]),
        (b'{"b":{"a":1,"a":2}}', ["duplicate key"]),
        (b'{"a":1,"a":nul}', ["invalid keyword 'nul'"]),
        (b'"\\x"', ["invalid escape sequence in string"]),
        (b'"\\\xc3\xa9"', ["invalid escape sequence in string"]),
        (b'"\\ud83d"', [r"\ud83d is not a valid Unicode character"]),
        (b'"\\ude00"', [r"\ude00 is not a valid Unicode character"]),
        (b'"\\ud83d\\n"', [r"\ud83d is not a valid Unicode character"]),
        (b'"\\ud83d\\u0041"', [r"\ud83d is not a valid Unicode character"]),
        (b'"\\ud83d\\u"', [r"\ud83d is not a valid Unicode character"]),
        (b'"\\uffff"', [r"\uffff is not a valid Unicode character"]),
        (b'"\\uFDD0"', [r"\uFDD0 is not a valid Unicode character"]),
        (b'"\\ud83f\\udfff"', [r"\ud83f\udfff is not a valid Unicode character"]),
        (b'"\\u12"', ['\\u12" is not a valid Unicode character']),
        (b'"\\u"', ['\\u" is not a valid Unicode character']),
        (b'"\\u12xyz"', [r"\u12xy is not a valid Unicode character"]),
        (b'"\\u1\xc3\xa9\xc3\xa9"', ["\\u1é\ufffd is not a valid Unicode character"]),
        (b'{"a":"\xef\xbf\xbf"}', ["invalid UTF-8 sequence in string"]),
        (b'{"a":"bad\xc3("}', ["invalid UTF-8 sequence in string"]),
        (b'"bad\xc3("', ["invalid UTF-8 sequence in string"]),
        (b'"\xed\xa0\x80"', ["invalid UTF-8 sequence in string"]),
        (b'"\xef\xbf\xbf"', ["invalid UTF-8 sequence in string"]),
        (b'"\xf4\x90\x80\x80"', ["invalid UTF-8 sequence in string"]),
        (b'"\xc3\\n"', ["invalid UTF-8 sequence in string"]),
        (b'"\xc3"', ["invalid UTF-8 sequence in string"]),
        (b"01\n", ["stray '01'"]),
        (b"-}\n", ["stray '-}'"]),
        (b"1.}\n", ["stray '1.}'"]),
        (b"1e}\n", ["stray '1e}'"]),
        (b"#\n", ["stray '#'"]),
        (b"/\n", ["stray '/'"]),
        (b"T\n", ["stray 'T'"]),
        (b"%d\n", ["stray '%'"]),
        (b"\x01", ["stray '\x01'"]),
        (b"\x00", ["stray ''"]),
        (b'"a\x00', ["stray '\"a'"]),
        (b"\xff", ["stray '\ufffd'"]),
        (b"\xfe", ["stray '\ufffd'"]),
        (b"\xff\xff", ["stray '\ufffd'"] * 2),
        (b'"a\t"\n', ["stray '\"a\t'"]),
        (b"{'a\xe2\x82\xac\xff", ["stray ''a€\ufffd'"]),
        (b'{"a":01}', ["stray '01'", "expecting value"]),
        (b"[" + b"a" * 2000 + b"]", ["invalid keyword '" + "a" * 1006]),
        (b"[" + b"a" * 1005 + b"]", ["invalid keyword '" + "a" * 1005 + "'"]),
    ],
)
def test_errors(data: bytes, texts: list[str]) -> None:
    expected = errors(*(P + text for text in texts))
    assert read(data) == read(data, exact=True) == slowly(data) == expected


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b"5 ", [5]),
        (b"5,", [5, ("error", P + "expecting value")]),
        (b"[]{}", [[], {}]),
        (b"\"a\"'b'", ["a", "b"]),
        (b"{'mix\"ed':'it\\'s'}", [{'mix"ed': "it's"}]),
        (rb'"\"\'\\\/\b\f\n\r\t\u0041\u0000\u00e9\uD83D\uDE00"', ["\"'\\/\b\f\n\r\tA\0é😀"]),
        (b'"\x7f \xc3\xa9 \xf0\x9f\x98\x80 \xc0\x80"', ["\x7f é 😀 \0"]),
        (b'"%d %% %"', ["%d %% %"]),
        (b"true false null ", [True, False, None]),
        (b"[0,-0,12,-12]", [[0, 0, 12, -12]]),
        (b"[-0.0,1e2,1.50,1E-3,2.5e+3]", [[-0.0, 100.0, 1.5, 0.001, 2500.0]]),
        (b"[9223372036854775807,9223372036854775808]", [[2**63 - 1, 2**63]]),
        (b"[18446744073709551615,18446744073709551616]", [[2**64 - 1, 2.0**64]]),
        (b"[-9223372036854775808,-9223372036854775809]", [[-(2**63), -(2.0**63)]]),
        (b"[" + b"9" * 400 + b",-1e999,1e-999]", [[float("inf"), float("-inf"), 0.0]]),
        (b"[" + b"9" * 5000 + b"]", [[float("inf")]]),
        (b' {"a":\r\n1\t,"b":[{}]}\n', [{"a": 1, "b": [{}]}]),
        (b'{"b":1,"a":2}', [{"b": 1, "a": 2}]),
    ],
)
def test_values(data: bytes, values: list[object]) -> None:
    assert same(read(data), values)
    assert same(read(data, exact=True), values)
    assert same(slowly(data), values)


def test_a_scalar_is_complete_with_the_byte_after_it() -> None:
    stream = JsonStream()
    stream.feed(b"5")
    assert stream.next() is NEED_MORE
    stream.feed(b"\n")
    assert stream.next() == (5,)


def test_an_object_is_complete_with_its_last_bracket() -> None:
    stream = JsonStream()
    stream.feed(b'{"a":1}{"b"')
    assert stream.next() == ({"a": 1},)
    assert stream.next() is NEED_MORE
    stream.feed(b":2}")
    stream.feed(b'{"c":3}')
    assert [stream.next() for _ in range(3)] == [({"b": 2},), ({"c": 3},), NEED_MORE]


def test_a_stray_byte_drops_what_was_collected() -> None:
    assert read(b'{"a":[1,\xff{"b":2}') == [*errors(P + "stray '\ufffd'"), {"b": 2}]


def test_a_stray_byte_within_an_object_yields_a_train_of_errors() -> None:
    assert read(b'{"execute":"query-status" // c\n,"id":6}\n') == [
        *errors(P + "stray '/'", P + "expecting value"),
        "id",
        *errors(P + "expecting value"),
        6,
        *errors(P + "expecting value"),
    ]


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_limit(opening: bytes, closing: bytes) -> None:
    inner = b"" if opening == b"[" else b"1"
    (deep,) = read(opening * 1024 + inner + closing * 1024)
    assert deep
    found = read(opening * 1025 + closing * 1025)
    rest: list[object] = list(errors(*[P + "expecting value"] * 1025))
    if inner:  # the last opening piece is more than a bracket
        rest = ["a", *errors(P + "expecting value"), *rest]
    assert found == [*errors("JSON nesting depth limit exceeded"), *rest]


def test_both_kinds_of_brackets_nest() -> None:
    text = b"[" * 600 + b'{"a":' * 424 + b"1" + b"}" * 424 + b"]" * 600
    assert len(read(text)) == 1
    assert read(b"[" + text)[0] == ("error", "JSON nesting depth limit exceeded")


def test_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmpd.wire.json_parser.SIZE_LIMIT", 100)
    assert read(b'["' + b"x" * 95 + b'"]') == [["x" * 95]]
    assert read(b'["' + b"x" * 96 + b'"]') == errors("JSON token size limit exceeded")
    assert read(b'["' + b"x" * 97 + b'"]\n') == errors(
        "JSON token size limit exceeded", P + "expecting value"
    )
    assert read(b"[" + b" " * 500 + b"]") == [[]]


def test_count_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmpd.wire.json_parser.COUNT_LIMIT", 5)
    assert read(b"[1,2]") == [[1, 2]]
    assert read(b"[[1],2]") == errors("JSON token count limit exceeded", P + "expecting value")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.text(max_size=4, alphabet="abé\0\"'"), json_values, max_size=4)
layouts = st.sampled_from(
    [{"ensure_ascii": False}, {"separators": (",", ":")}, {"indent": 1}, {"indent": "\t"}]
)


@given(st.lists(objects, max_size=4), layouts, st.sampled_from([b"", b"\n", b"\r\n", b" \t"]))
def test_both_ways_agree_on_any_json(
    values: list[dict[str, object]], layout: dict[str, Any], blank: bytes
) -> None:
    data = b"".join(
        json.dumps(value, **layout).encode(errors="surrogatepass") + blank for value in values
    )
    exact = read(data, exact=True)
    assert same(read(data), exact)


TOKENS = [
    *(b"{", b"}", b"[", b"]", b":", b",", b" ", b'"a"', b'"b"', b"'c'", b'"', b"\\u", b"\\"),
    *(
        b"1",
        b"-",
        b"0",
        b".5",
        b"e1",
        b"0e1",
        b"true",
        b"nul",
        b"NaN",
        b"\xc3\xa9",
        b"\xff",
        b"\x01",
    ),
    *(b'{"a":', b'{"a":1}', b'{"b":[1,2.5]}', b'"\\ud83d"', b'"\\uffff"', b'"\xef\xbf\xbf"'),
    *(b'{"a":1,"a":2}', b"12345678901234567890", b'{"c":-0.0}', b'{"d":0E5}', b"Infinity"),
]


@given(st.lists(st.sampled_from(TOKENS), max_size=16), st.data())
def test_both_ways_agree_on_anything_in_any_pieces(
    tokens: list[bytes], data: st.DataObject
) -> None:
    text = b"".join(tokens)
    exact = read(text, exact=True)
    assert same(read(text), exact)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert same(read(*pieces), exact)
    assert same(slowly(text), exact)


characters = st.characters(codec="utf-8", exclude_categories=["Cs", "Cn"])
kept_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(characters, max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(kept_values, st.booleans())
def test_what_is_encoded_is_read_back(value: object, pretty: bool) -> None:
    data = dumps(value, pretty) + b"\r\n"
    assert read(data) == read(data, exact=True) == [value]


def test_the_plain_case_never_comes_to_the_lexer(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("qmpd.wire.json_lexer.Lexer.next_token", never)
    request = {"execute": "x", "arguments": {"a": [1, 2.5, None, True], "b": {"c": "é\n"}}, "id": 7}
    data = json.dumps(request, ensure_ascii=False).encode() + b"\r\n"
    assert read(data * 3) == [request] * 3


def test_the_fast_way_knows_the_nesting_limit() -> None:
    """Even where Python would recurse deeper."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(5000)
    try:
        found = read(b'{"a":' + b"[" * 1024 + b"]" * 1024 + b"}")
        assert found[0] == ("error", "JSON nesting depth limit exceeded")
        assert read(b'{"a":"' + b"[" * 2000 + b'"}') == [{"a": "[" * 2000}]
    finally:
        sys.setrecursionlimit(limit)


def test_vain_attempts_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    def scan(text: str, index: int) -> tuple[object, int]:
        attempts.append(index)
        return scan_once(text, index)

    scan_once = json_stream._SCAN
    monkeypatch.setattr(json_stream, "_SCAN", scan)
    assert read(b"{'a':1}" * 100) == [{"a": 1}] * 100
    assert len(attempts) == 16
    attempts.clear()
    assert read(b'{"a":1}' * 100) == [{"a": 1}] * 100
    assert len(attempts) == 100


@pytest.mark.parametrize(
    "data",
    [
        b'{"execute":"x","id":"' + b"y" * 100_000 + b'"}',
        b'{"execute":"x","id":[' + b"1," * 40_000 + b"1]}",
        b'{"a":1,"a":2}' * 6_000,
        b"{'a':1}" * 6_000,
        b'{"\\ud83d":1}' * 4_000,
    ],
    ids=["string", "list", "duplicates", "single quotes", "surrogates"],
)
def test_time_grows_with_the_bytes_only(data: bytes) -> None:
    """Twice the input takes about twice the time, in one piece or in small ones."""
    for step in (len(data), 97):
        half, whole = (_seconds(data[:size], step) for size in (len(data) // 2, len(data)))
        assert whole < 6 * half + 0.1


def _seconds(data: bytes, step: int) -> float:
    stream = JsonStream()
    start = time.process_time()
    for index in range(0, len(data), step):
        stream.feed(data[index : index + step])
        while stream.next() is not NEED_MORE:
            pass
    return time.process_time() - start


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"driver":"null-co"}', {"driver": "null-co"}),
        (" {'a': 1}\n", {"a": 1}),
        ("5", 5),
        ("null", None),
        ('"é"', "é"),
    ],
)
def test_parse_json(text: str, value: object) -> None:
    assert parse_json(text) == value


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "Expecting a JSON value"),
        (" ", "Expecting a JSON value"),
        ("{}{}", "Expecting at most one JSON value"),
        ("1 2", "Expecting at most one JSON value"),
        ("5 nul", "Expecting at most one JSON value"),
        ("nul 5", P + "invalid keyword 'nul'"),
        ("{", P + "premature EOI"),
        ('{"a"', P + "premature EOI"),
        ('{"a":', P + "premature EOI"),
        ('{"a":1', P + "premature EOI"),
        ("[1,", P + "premature EOI"),
        ("[1 2", P + "expected separator in list"),
        ("nul", P + "invalid keyword 'nul'"),
        ('{"a":"b', P + "stray '\"b'"),
        ("1.", P + "stray '1.'"),
        ("-", P + "stray '-'"),
        ("{] {", P + "expecting value"),
        ("\udcff", P + "stray '\ufffd'"),
    ],
)
def test_parse_json_errors(text: str, error: str) -> None:
    with pytest.raises(QmpError) as caught:
        parse_json(text)
    assert caught.value.desc == error


@pytest.mark.parametrize("odd", ["\xe9", "\u20ac", "\U0001f600", "\\u20ac", "\\n"])
def test_long_strings_are_read_in_pieces(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lexer, "_PIECE", 1000)
    for before in range(7):
        for plain in ("", "\\t", "\\t\\u00e4", "\\t\\u00e4\xe4\\n"):
            text = '{"a": "' + plain + "x" * before + odd * 30_000 + plain + '"}'
            data = text.encode()
            pieces = [data[start : start + 999] for start in range(0, len(data), 999)]
            assert read(*pieces, exact=True) == [json.loads(text)]
    (found,) = read(b'{"a": "\\t\\t' + b"x" * 70_000 + b"\x80" * 10 + b'"}', exact=True)
    assert found == ("error", f"{P}invalid UTF-8 sequence in string")
