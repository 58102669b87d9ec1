"""Nobody has to close a machine that is no longer used, whatever runs in it."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest

from tests.support.machines import TestMachine


def _forget(command: str, **options: Any) -> None:
    box = TestMachine()
    for node in ("source", "target"):
        box.execute("blockdev-add", driver="null-co", node_name=node, size=64 << 20)
    nodes = {"device": "source", "target": "target"}
    box.execute(command, job_id="job", sync="full", speed=1, **nodes, **options)


@pytest.mark.parametrize("command", ["blockdev-mirror", "blockdev-backup"])
def test_a_running_job(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    _forget(command)
    gc.collect()
    assert [str(complaint.exc_value) for complaint in complaints] == []
