"""Parse errors with their places, as QEMU has them since 11.0 (seen on 11.1)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.errors import GenericError, QmpError
from qmpd.wire.json_places import LocatedStream, parse_json_with_places
from qmpd.wire.json_stream import NEED_MORE

STRAY = "JSON parse error, stray '\N{REPLACEMENT CHARACTER}'"

TOLD: tuple[tuple[bytes, list[str]], ...] = (
    (b"{]", ["1:2: JSON parse error, expecting key"]),
    (b"{'a':1,}", ["1:8: JSON parse error, expecting key"]),
    (b"{'a' 1}", ["1:6: JSON parse error, expecting ':'"]),
    (b"{'a':999x}", ["1:10: JSON parse error, expected ',' or '}'"]),
    (b"[1 2]", ["1:4: JSON parse error, expected ',' or ']'"]),
    (b"{\n\n'a':}", ["3:5: JSON parse error, expecting value"]),
    (
        b"nul\n}",
        [
            "1:1: JSON parse error, invalid keyword 'nul'",
            "2:1: JSON parse error, expecting value",
        ],
    ),
    (b"{'a':1,'a':2}", ["1:12: JSON parse error, duplicate key"]),
    (b"\xff\xff", [f"1:1: {STRAY}", f"1:3: {STRAY}"]),
    (b"'abc\n\xff", ["1:1: JSON parse error, stray ''abc\n'", f"2:2: {STRAY}"]),
    (
        b"%s}}",
        ["1:1: JSON parse error, stray '%'"]
        + [f"1:{at}: JSON parse error, expecting value" for at in (4, 4)],
    ),
    (b"[" * 1025 + b"\xff", ["JSON nesting depth limit exceeded"]),
)
"""What is sent, and what the real program answers."""

WORDS = st.sampled_from(
    [b"{", b"}", b"[", b"]", b":", b",", b"'a'", b"1", b"nul", b"true", b" ", b"\n", b"\xff", b"%"]
)


def read(*pieces: bytes) -> list[Any]:
    """Values, and errors as text."""
    stream = LocatedStream()
    found: list[Any] = []
    for piece in pieces:
        stream.feed(piece)
        while (result := stream.next()) is not NEED_MORE:
            found.append(result.desc if isinstance(result, QmpError) else result)
    return found


@pytest.mark.parametrize(("sent", "told"), TOLD)
def test_what_is_wrong_is_told_with_its_place(sent: bytes, told: list[str]) -> None:
    assert read(sent) == told


@given(words=st.lists(WORDS, max_size=20), data=st.data())
def test_places_do_not_depend_on_how_input_is_cut(words: list[bytes], data: st.DataObject) -> None:
    text = b"".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert read(*pieces) == read(text)


def test_lines_are_counted_over_all_that_was_sent() -> None:
    assert read(b'{"execute":"a"}\n{"execute":"b"}\n', b" \n}")[2:] == [
        "4:1: JSON parse error, expecting value"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "1:2: JSON parse error, premature end of input"),
        ("{ ", "1:3: JSON parse error, premature end of input"),
        ("[1", "1:4: JSON parse error, premature end of input"),
        ("{\n'a':nul", "2:5: JSON parse error, invalid keyword 'nul'"),
        ("{} {}", "Expecting at most one JSON value"),
        ("", "Expecting a JSON value"),
    ],
)
def test_texts_of_command_lines(text: str, told: str) -> None:
    with pytest.raises(GenericError) as raised:
        parse_json_with_places(text)

    assert raised.value.desc == told
