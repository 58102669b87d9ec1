"""Sessions recorded with real QEMUs, replayed: the same answers, events and output."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.golden import versions
from tests.golden.replay import SESSIONS, load, replay
from tests.support.versions import OTHERS


def needs_programs(name: str) -> bool:
    """Whether other programs work at the images while the session goes on."""
    return any(step.shell is not None for step in load(name).steps)


@pytest.mark.parametrize("name", sorted(path.stem for path in SESSIONS.glob("*.jsonl")))
def test_session_replays_identically(name: str, tmp_path: Path) -> None:
    if shutil.which("qemu-io") is None and needs_programs(name):
        pytest.skip("qemu-io is not installed, which was a client in this session")
    replay(name, tmp_path)


@pytest.mark.parametrize(
    ("version", "name"),
    [(version, name) for version in OTHERS for name in versions.NAMES],
)
def test_session_of_another_version_replays_identically(
    version: str, name: str, tmp_path: Path
) -> None:
    versions.replay(version, name, versions.expected(version)[name], tmp_path)
