"""Sessions recorded with QEMU 10.0.2, replayed: the same answers, events and output."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.replay import SESSIONS, replay


@pytest.mark.parametrize("name", sorted(path.stem for path in SESSIONS.glob("*.jsonl")))
def test_session_replays_identically(name: str, tmp_path: Path) -> None:
    replay(name, tmp_path)
