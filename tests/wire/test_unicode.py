import pytest

from qmpd.wire.unicode import (
    INVALID,
    decode_lossy,
    decode_one,
    decode_pieces,
    encode,
    is_character,
)


def decode_strict(data: bytes) -> str | None:
    pieces = decode_pieces(data, 0, len(data))
    return None if pieces is None else "".join(pieces)


@pytest.mark.parametrize(
    ("data", "code", "end"),
    [
        (b"A", 0x41, 1),
        (b"\x7f", 0x7F, 1),
        (b"\xc2\x80", 0x80, 2),
        (b"\xdf\xbf", 0x7FF, 2),
        (b"\xe0\xa0\x80", 0x800, 3),
        (b"\xf0\x90\x80\x80", 0x10000, 4),
        (b"\xf4\x8f\xbf\xbd", 0x10FFFD, 4),
        (b"\xc0\x80", 0, 2),
        (b"\xc1\xbf", INVALID, 2),
        (b"\xe0\x80\x80", INVALID, 3),
        (b"\xe0\x9f\xbf", INVALID, 3),
        (b"\xf0\x8f\xbf\xbf", INVALID, 4),
        (b"\xed\xa0\x80", INVALID, 3),
        (b"\xef\xb7\x90", INVALID, 3),
        (b"\xef\xbf\xbf", INVALID, 3),
        (b"\xf0\x9f\xbf\xbe", INVALID, 4),
        (b"\xf4\x90\x80\x80", INVALID, 4),
        (b"\xf8\x88\x80\x80\x80", INVALID, 5),
        (b"\xfd\xbf\xbf\xbf\xbf\xbf", INVALID, 6),
        (b"\xc3(", INVALID, 1),
        (b"\xe2\x82", INVALID, 2),
        (b"\xfd\xbf\xbfA", INVALID, 3),
        (b"\x80\x80", INVALID, 1),
        (b"\xfe", INVALID, 1),
        (b"\xff", INVALID, 1),
    ],
)
def test_sequences(data: bytes, code: int, end: int) -> None:
    assert decode_one(data, 0) == (code, end)
    assert decode_one(b"xy" + data, 2) == (code, end + 2)


def test_every_code_point_is_decoded_back_or_invalid() -> None:
    for code in (*range(0x3000), *range(0xD700, 0x10010), 0x1FFFE, 0x1FFFF, 0x10FFFD, 0x10FFFF):
        data = chr(code).encode(errors="surrogatepass")
        expected = code if is_character(code) else INVALID
        assert decode_one(data, 0) == (expected, len(data))
        assert (decode_strict(data) is None) == (expected == INVALID)
        assert decode_lossy(data) == (chr(code) if is_character(code) else "\ufffd")


def test_there_are_66_noncharacters() -> None:
    none = [code for code in range(0x110000) if not is_character(code)]
    assert len(none) == 66 + 0x800


def test_strict_takes_a_real_replacement_character() -> None:
    assert decode_strict("\ufffd".encode()) == "\ufffd"
    assert decode_strict(b"\xc0\x80\xef\xbf\xbd") == "\0\ufffd"
    assert decode_strict(b"\xc0\x80\xef\xbf") is None


def test_lossy_replaces_each_sequence_once() -> None:
    assert decode_lossy(b"a\xe2\x82\xff\x80b\xed\xa0\x80") == "a\ufffd\ufffd\ufffdb\ufffd"


def test_encode_keeps_zero_bytes_out() -> None:
    assert encode("a\0é") == b"a\xc0\x80\xc3\xa9"


@pytest.mark.parametrize("odd", ["\xe9", "\u20ac", "\U0001f600"])
def test_no_sequence_is_cut(odd: str) -> None:
    for before in range(6):
        text = "x" * before + odd * 50_000
        assert decode_strict(text.encode()) == text
    assert decode_strict(b"x" * 65_536 + b"\x80" * 10) is None
    assert decode_strict((odd * 50_000).encode()[:-1]) is None
