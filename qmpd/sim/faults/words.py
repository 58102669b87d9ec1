"""What a caller says of a fault, checked: words that there are, and errnos by name or number."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Final

USUAL: Final = (
    *("EIO", "ENOSPC", "EAGAIN", "EACCES", "EPERM", "ENOENT", "EINVAL", "ENOTSUP", "ENOMEM"),
    *("EBUSY", "EROFS", "EDQUOT", "EFBIG", "ENODEV", "ENOMEDIUM", "ESTALE", "ETIMEDOUT"),
)
"""The errnos that an error names as examples."""


def listed(names: Iterable[str]) -> str:
    """Names as an error lists them."""
    return ", ".join(repr(name) for name in names) or "none"


def one_of(what: str, word: str, choices: Collection[str]) -> str:
    """`word`, if it is one of `choices`.

    :raises ValueError: it is not; the text says what there is
    """
    if word not in choices:
        raise ValueError(f"there is no {what} {word!r}; it is one of {listed(choices)}")
    return word


def errno_of(given: str | int) -> int:
    """The number of an errno.

    :param given: its name, ``"ENOSPC"``, or its number
    :raises ValueError: there is no such errno
    """
    if isinstance(given, str):
        number = getattr(errno, given, None) if given.startswith("E") else None
        if isinstance(number, int):
            return number
        names = set(errno.errorcode.values())
        close = get_close_matches(given.upper(), names, 3) or USUAL
        raise ValueError(f"there is no errno {given!r}; there are {listed(close)}, ...")
    if isinstance(given, bool) or given not in errno.errorcode:
        raise ValueError(f"there is no errno {given!r}; there are {listed(USUAL)}, ...")
    return given


def not_below(what: str, value: float, least: int) -> None:
    """Check that a number is not too small.

    :raises ValueError: it is
    """
    if value < least:
        raise ValueError(f"{what} is {value}; it must be at least {least}")
