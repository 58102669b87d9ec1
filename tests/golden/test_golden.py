"""Sessions recorded with QEMU 10.0.2, replayed: the same answers, events and output."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.replay import SESSIONS, VARYING, replay

ATTEMPTS = 5
"""Times that a session is played in which jobs must get no further between two requests than
when it was recorded: on a busy machine a client may be late."""


@pytest.mark.parametrize("name", sorted(path.stem for path in SESSIONS.glob("*.jsonl")))
def test_session_replays_identically(name: str, tmp_path: Path) -> None:
    for attempt in range(ATTEMPTS if name in VARYING else 1):
        scratch = tmp_path / str(attempt)
        scratch.mkdir()
        try:
            replay(name, scratch)
        except AssertionError:
            if name not in VARYING or attempt == ATTEMPTS - 1:
                raise
        else:
            return
