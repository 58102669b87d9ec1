"""``-drive stats-intervals.N=``: the intervals for which query-blockstats has statistics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count
from typing import Final

from qmpd.base.qdict import QDict
from qmpd.errors import GenericError

INTERVALS: Final = "stats-intervals."
"""Prefix of the parameters."""

_SECONDS: Final = re.compile(r"[ \t\n\v\f\r]*\+?([0-9]+)\Z")
_MAX_SECONDS: Final = (1 << 32) - 1


def split_intervals(values: Mapping[str, str]) -> list[str | None]:
    """The intervals among the parameters of a drive, as they are written.

    :param values: all its parameters, in the order given
    :returns: the elements of the list; None for one that is not a scalar
    :raises GenericError: a parameter is not an element of the list
    """
    left = {
        name.removeprefix(INTERVALS): value
        for name, value in values.items()
        if name.startswith(INTERVALS)
    }
    found: list[str | None] = []
    for index in map(str, count()):
        deeper = [name for name in left if name.startswith(f"{index}.")]
        if (index in left) == bool(deeper):
            break
        found.append(left.pop(index, None))
        for name in deeper:
            del left[name]
    if left:
        raise GenericError(f"Invalid option {INTERVALS}{next(iter(QDict(left)))}")
    return found


def interval_seconds(text: str | None) -> int:
    """The length of an interval in seconds.

    :raises GenericError: it is not between 1 and 2^32 - 1 seconds
    """
    if text is None:
        raise GenericError("The specification of stats-intervals is invalid")
    match = _SECONDS.match(text)
    seconds = int(match[1]) if match is not None else 0
    if not 0 < seconds <= _MAX_SECONDS:
        raise GenericError(f"Invalid interval length: {text}")
    return seconds
