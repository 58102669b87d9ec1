"""Scalars that arrive as strings, as C reads them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qmpd.base.scalars import parse_bool, parse_int64, parse_number, parse_size, parse_uint64


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_bool, "on", True),
        (parse_bool, "n", False),
        (parse_int64, " -0x10", -16),
        (parse_int64, "010", 8),
        (parse_int64, "+9223372036854775807", 2**63 - 1),
        (parse_uint64, "-1", 2**64 - 1),
        (parse_uint64, "18446744073709551615", 2**64 - 1),
        (parse_number, "1e3", 1000.0),
        (parse_number, ".5", 0.5),
        (parse_size, "512", 512),
        (parse_size, "0x1E", 30),
        (parse_size, "1.5k", 1536),
        (parse_size, "1.7k", 1741),
        (parse_size, " +1.0b", 1),
        (parse_size, ".5K", 512),
        (parse_size, "1.0", 1),
        (parse_size, "15E", 15 << 60),
        (parse_size, "1.03708449G", 1113560992),
    ],
)
def test_read(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_bool, "ON"),
        (parse_bool, "1"),
        (parse_int64, ""),
        (parse_int64, "1 "),
        (parse_int64, "0x"),
        (parse_int64, "08"),
        (parse_int64, "9223372036854775808"),
        (parse_uint64, "18446744073709551616"),
        (parse_number, "inf"),
        (parse_number, "1e400"),
        (parse_size, "-1"),
        (parse_size, "1.5"),
        (parse_size, "."),
        (parse_size, "1e3"),
        (parse_size, "0x10k"),
        (parse_size, "-1k"),
        (parse_size, "99999999999999999999k"),
        (parse_size, "16Ezz"),
        (parse_size, "16E"),
        (parse_size, "15.99999999999999999999E"),
    ],
)
def test_refused(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)
