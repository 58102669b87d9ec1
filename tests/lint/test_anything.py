"""Recordings of anything: lint finds what it finds, and does not fail."""

from __future__ import annotations

import copy
import json
from functools import cache
from random import Random
from typing import Any, Final

import pytest

from qmpd.cli.sessions import read_file
from qmpd.sim.lint import lint
from qmpd.sim.lint.session import session_of_recording
from qmpd.sim.record.recording import Said
from tests.lint.test_recordings import RECORDINGS

WRONG: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    1.5,
    "",
    "x",
    [],
    [[]],
    {},
    {"type": 1},
    {"data": []},
    [None, "a"],
)


@cache
def _lines() -> list[Said]:
    """A part of each recording: all that is about jobs, nodes and bitmaps."""
    return [
        said
        for path in RECORDINGS
        for said in read_file(str(path))
        if len(json.dumps(said.message)) < 900
    ]


def _damaged(value: Any, random: Random) -> Any:
    """A value with something else in the place of one of its parts."""
    parts: list[tuple[Any, Any]] = []

    def collect(each: Any) -> None:
        keys = (
            each.items()
            if isinstance(each, dict)
            else enumerate(each)
            if isinstance(each, list)
            else ()
        )
        for key, part in keys:
            parts.append((each, key))
            collect(part)

    value = copy.deepcopy(value)
    collect(value)
    for holder, key in random.sample(parts, min(2, len(parts))):
        if isinstance(holder, dict) and random.random() < 0.3:
            holder.pop(key, None)
        else:
            holder[key] = random.choice(WRONG)
    return value


@pytest.mark.parametrize("seed", range(3))
def test_damaged_recordings(seed: int) -> None:
    random = Random(seed)
    lines = _lines()
    start = random.randrange(len(lines) - 150)
    said = [
        Said(each.line, 1, each.time, each.side, _damaged(each.message, random), what=each.what)
        for each in lines[start : start + 150]
    ]
    for finding in lint(session_of_recording(said), ("5.2", "10.0", "11.1")):
        assert finding.text
