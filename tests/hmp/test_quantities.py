"""Numbers of qemu-io, and getopt."""

from __future__ import annotations

import pytest

from qmpd.base.scalars import SizeForm
from qmpd.monitor.hmp.line import UsageError
from qmpd.monitor.hmp.quantities import cvtnum, human_size, parse_pattern, quantity
from qmpd.options.getopt import GetoptError, getopt


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("0x10", 16),
        ("1k", 1024),
        ("1.5k", 1536),
        ("2G", 2 << 30),
        ("7B", 7),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert cvtnum(text) == size


@pytest.mark.parametrize("text", ["", "x", "1x", "1.5", "1e3", "0x1.8k", "-1", "9" * 20, "1 "])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="Parsing error"):
        cvtnum(text)


@pytest.mark.parametrize(("text", "byte"), [("0", 0), ("0xcd", 0xCD), ("255", 255), ("010", 8)])
def test_patterns(text: str, byte: int) -> None:
    assert parse_pattern(text) == byte


@pytest.mark.parametrize("text", ["256", "-1", "zz", "", "0x100", "08"])
def test_no_patterns(text: str) -> None:
    with pytest.raises(UsageError, match="is not a valid pattern byte"):
        parse_pattern(text)


def test_quantities() -> None:
    assert [quantity(n) for n in (0, 1, 513, 1536, 1 << 20, 923.380644)] == [
        *("0 bytes", "1 bytes", "513 bytes", "1.500 KiB", "1 MiB", "923.380644 bytes")
    ]
    assert [human_size(n) for n in (0, 1 << 20, 196624, 1000)] == [
        *("0 B", "1 MiB", "192 KiB", "0.977 KiB")
    ]


def test_getopt() -> None:
    assert getopt(["-q", "0", "-P7", "-z", "1", "-P", "8", "--", "-x"], "P:qz") == (
        {"q": "", "P": "8", "z": ""},
        ["0", "1", "-x"],
    )
    with pytest.raises(GetoptError, match="invalid option -- 'x'"):
        getopt(["-x"], "q")
    with pytest.raises(GetoptError, match="option requires an argument -- 'P'"):
        getopt(["-P"], "P:")


@pytest.mark.parametrize(
    ("form", "text", "size"),
    [
        (SizeForm.DIGITS, "0x10k", 16384),
        (SizeForm.DIGITS, "1.7k", 1741),
        (SizeForm.STRTOD, "0x10k", 16384),
        (SizeForm.STRTOD, "1.7k", 1740),
        (SizeForm.STRTOD, "1e3", 1000),
        (SizeForm.STRTOD, ".5k", 512),
        (SizeForm.STRTOD, "0x1.8p1", 3),
    ],
)
def test_sizes_of_other_versions(form: SizeForm, text: str, size: int) -> None:
    assert cvtnum(text, form) == size


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (SizeForm.DIGITS, ".5k"),
        (SizeForm.DIGITS, "-1"),
        (SizeForm.DIGITS, "1.5e2"),
        (SizeForm.STRTOD, "inf"),
        (SizeForm.STRTOD, "1.5"),
        (SizeForm.STRTOD, "-1"),
        (SizeForm.STRTOD, "1e400"),
        (SizeForm.STRTOD, "8E"),
    ],
)
def test_no_sizes_of_other_versions(form: SizeForm, text: str) -> None:
    with pytest.raises(UsageError, match="Parsing error"):
        cvtnum(text, form)
