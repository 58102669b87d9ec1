"""Bytes that somebody describes instead of giving them."""

from __future__ import annotations


def bytes_of(data: bytes | None, pattern: int | bytes | None, length: int | None) -> bytes:
    """The bytes themselves, or a pattern again and again.

    :param data: the bytes
    :param pattern: instead of `data`: a byte or several; 0 if absent
    :param length: how many bytes of `pattern`
    :raises ValueError: neither or both are given, or a pattern of nothing
    """
    if data is not None:
        if pattern is not None or length is not None:
            raise ValueError("give the bytes themselves, or a pattern and a length, not both")
        return data
    if length is None:
        raise ValueError("give the bytes themselves, or a pattern and a length")
    if isinstance(pattern, int) or pattern is None:
        pattern = bytes([pattern or 0])
    if not pattern:
        raise ValueError("a pattern has at least one byte")
    return (pattern * -(-length // len(pattern)))[:length]
