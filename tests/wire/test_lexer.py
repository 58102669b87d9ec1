from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.wire.json_lexer import _ROWS, TRANSITIONS, Ahead, Lexer, State, Token

HERE: dict[State, bytes] = {
    State.START: b"",
    State.DOUBLE_QUOTED: b'"a',
    State.DOUBLE_QUOTED_ESCAPE: b'"a\\',
    State.SINGLE_QUOTED: b"'a",
    State.SINGLE_QUOTED_ESCAPE: b"'a\\",
    State.SIGN: b"-",
    State.ZERO: b"0",
    State.DIGITS: b"12",
    State.POINT: b"1.",
    State.FRACTION: b"1.5",
    State.EXPONENT: b"1e",
    State.EXPONENT_SIGN: b"1e-",
    State.EXPONENT_DIGITS: b"1e5",
    State.KEYWORD: b"tr",
    State.RECOVERY: b"#",
}
"""Bytes that bring the lexer into each state."""


def tokens(*pieces: bytes) -> list[tuple[Token, bytes]]:
    lexer = Lexer()
    found = []
    for piece in pieces:
        index = 0
        while index < len(piece):
            token, text, index = lexer.next_token(piece, index)
            if token is not None:
                found.append((token, text))
    token, text = lexer.end()
    return [*found, (token, text)] if token is not None else found


def test_the_table_names_every_state() -> None:
    assert set(TRANSITIONS) == set(State) == set(HERE)


@pytest.mark.parametrize("state", State)
def test_every_cell_is_walked(state: State) -> None:
    """From each state each byte leads where the table says."""
    for byte in range(0x100):
        walk(state, byte)


def walk(state: State, byte: int) -> None:
    begun = HERE[state]
    target = _ROWS[state].targets[byte]
    lexer = Lexer()
    if state is State.RECOVERY:
        lexer.next_token(begun, 0)
        begun = b""
    else:
        assert lexer.next_token(begun, 0) == (None, b"", len(begun))
    assert lexer._state is state
    data = bytes([byte])
    token, text, index = lexer.next_token(data, 0)
    if isinstance(target, Ahead) and target.token is not None:
        assert (token, text, index) == (target.token, begun, 0)
        assert lexer.at_start
    elif isinstance(target, Ahead):
        again = Lexer()
        assert again.next_token(data, 0) == (token, text, index)
        assert again._state is lexer._state
    elif isinstance(target, Token):
        assert (token, text, index) == (target, begun + data, 1)
        assert lexer._state is (State.RECOVERY if target is Token.STRAY else State.START)
    else:
        assert (token, index) == (None, 1)
        assert lexer._state is target


def test_one_of_each() -> None:
    assert tokens(b"""{"a\\"":'b"', [-0 ,12.5e+7]}true nul""") == [
        (Token.LEFT_CURLY, b"{"),
        (Token.STRING, b'"a\\""'),
        (Token.COLON, b":"),
        (Token.STRING, b"'b\"'"),
        (Token.COMMA, b","),
        (Token.LEFT_SQUARE, b"["),
        (Token.INTEGER, b"-0"),
        (Token.COMMA, b","),
        (Token.FLOAT, b"12.5e+7"),
        (Token.RIGHT_SQUARE, b"]"),
        (Token.RIGHT_CURLY, b"}"),
        (Token.KEYWORD, b"true"),
        (Token.KEYWORD, b"nul"),
    ]


def test_a_zero_takes_no_exponent() -> None:
    assert tokens(b"0e1") == [
        (Token.INTEGER, b"0"),
        (Token.KEYWORD, b"e"),
        (Token.INTEGER, b"1"),
    ]


def test_recovery_skips_to_what_may_start_something() -> None:
    assert tokens(b"#abc\t'1 {") == [(Token.STRAY, b"#"), (Token.LEFT_CURLY, b"{")]
    assert tokens(b"#abc\n1 ") == [(Token.STRAY, b"#"), (Token.INTEGER, b"1")]
    assert tokens(b"#\xff\xfe\x01") == [
        (Token.STRAY, b"#"),
        (Token.STRAY, b"\xff"),
        (Token.STRAY, b"\xfe"),
        (Token.STRAY, b"\x01"),
    ]


def test_the_end_of_input() -> None:
    assert tokens(b"12") == [(Token.INTEGER, b"12")]
    assert tokens(b"1.5") == [(Token.FLOAT, b"1.5")]
    assert tokens(b"tr") == [(Token.KEYWORD, b"tr")]
    assert tokens(b"1e") == [(Token.STRAY, b"1e")]
    assert tokens(b'"a\\') == [(Token.STRAY, b'"a\\')]
    assert tokens(b" # ") == [(Token.STRAY, b"#")]
    assert tokens(b" ") == []


def test_a_token_grows_no_longer_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmpd.wire.json_lexer.TOKEN_LIMIT", 8)
    assert tokens(b'"1234567"') == [(Token.STRING, b'"1234567"')]
    assert tokens(b'"12345678"') == [(Token.OVERLONG, b'"12345678'), (Token.STRAY, b'"')]
    assert tokens(b"abcdefghij") == [(Token.OVERLONG, b"abcdefghi"), (Token.KEYWORD, b"j")]
    assert tokens(b"123456\\", b"789") == [(Token.INTEGER, b"123456"), (Token.STRAY, b"\\")]
    assert tokens(b"1234567.5") == [(Token.OVERLONG, b"1234567.5")]


@given(st.binary(max_size=40), st.lists(st.integers(0, 40)))
def test_pieces_do_not_matter(data: bytes, cuts: list[int]) -> None:
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    assert tokens(*(data[start:end] for start, end in pairwise(bounds))) == tokens(data)
