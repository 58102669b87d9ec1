"""QEMU's modified UTF-8 (``mod_utf8_codepoint``).

It differs from UTF-8 in two points: U+0000 is the two bytes C0 80, because C strings end at a zero
byte, and the 66 noncharacters of Unicode are invalid.
"""

from __future__ import annotations

import re
from typing import Final

INVALID: Final = -1
"""The code point that `decode_one` returns for an invalid sequence."""

REPLACEMENT: Final = "\ufffd"

STEP: Final = 1 << 16
"""Bytes that are decoded at a time."""

_SMALLEST: Final = (0x80, 0x800, 0x10000, 0x200000, 0x4000000)
"""The smallest code point that needs 2, 3, 4, 5, 6 bytes."""

NONCHARACTER: Final = re.compile(
    "[\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)


def is_character(code: int) -> bool:
    """Whether `code` is valid in a string of QEMU."""
    return (
        0 <= code <= 0x10FFFF
        and not 0xD800 <= code <= 0xDFFF
        and not 0xFDD0 <= code <= 0xFDEF
        and code & 0xFFFE != 0xFFFE
    )


def decode_one(data: bytes, start: int) -> tuple[int, int]:
    """Decode the sequence at `start`, which must be within `data`.

    :returns: its code point, or `INVALID`, and the index where the next sequence starts;
        an invalid one reaches as far as its continuation bytes do
    """
    first = data[start]
    if first < 0x80:
        return first, start + 1
    if first < 0xC0 or first >= 0xFE:
        return INVALID, start + 1
    length = 8 - (first ^ 0xFF).bit_length()
    code = first & (0x7F >> length)
    end = start + 1
    while end < start + length:
        if end >= len(data) or data[end] & 0xC0 != 0x80:
            return INVALID, end
        code = code << 6 | data[end] & 0x3F
        end += 1
    overlong = code < _SMALLEST[length - 2] and not (code == 0 and length == 2)
    return (code if is_character(code) and not overlong else INVALID), end


def decode_pieces(data: bytes, start: int, end: int) -> list[str] | None:
    """Decode `data` from `start` to `end`; None if a sequence is invalid.

    :returns: the text, of which none is long: other threads can go on meanwhile
    """
    if end - start <= STEP:
        whole = _decode_strict(data[start:end])
        return None if whole is None else [whole]
    pieces = []
    while start < end:
        until = whole_sequences(data, min(start + STEP, end), end)
        if (piece := _decode_strict(data[start:until])) is None:
            return None
        pieces.append(piece)
        start = until
    return pieces


def whole_sequences(data: bytes, place: int, end: int) -> int:
    """Where to cut `data`, which goes as far as `end`, at `place` or before it."""
    if place < end:
        # the longest sequence has six bytes, and all but its first are continuations
        for before in range(place, place - 6, -1):
            if data[before] & 0xC0 != 0x80:
                return before if data[before] >= 0xC0 else place
    return place


def _decode_strict(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = _decode_stepwise(data)
        return None if REPLACEMENT in text and _has_invalid(data) else text
    return None if not data.isascii() and NONCHARACTER.search(text) else text


def decode_lossy(data: bytes) -> str:
    """Decode `data`, with U+FFFD for each invalid sequence.

    However much it is, other threads can go on meanwhile.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return _decode_stepwise(data)
    if text.isascii():
        return text
    steps = (text[start : start + STEP] for start in range(0, len(text), STEP))
    return "".join(NONCHARACTER.sub(REPLACEMENT, step) for step in steps)


def encode(text: str) -> bytes:
    """Encode `text`; noncharacters become U+FFFD."""
    return text.encode(errors="replace").replace(b"\0", b"\xc0\x80")


def _decode_stepwise(data: bytes) -> str:
    characters = []
    index = 0
    while index < len(data):
        code, index = decode_one(data, index)
        characters.append(REPLACEMENT if code == INVALID else chr(code))
    return "".join(characters)


def _has_invalid(data: bytes) -> bool:
    index = 0
    while index < len(data):
        code, index = decode_one(data, index)
        if code == INVALID:
            return True
    return False
