"""qemu-io on a node: the backend it makes for itself drains what is there, as QEMU's does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.machines import TestMachine

PAUSES = [
    # Everything is drained when the backend comes and when it goes.
    ("other", 2),
    # The node alone is drained before that, twice; a job stands still with any of its nodes.
    ("filter", 4),
    ("source", 4),
    ("target", 4),
]


@pytest.fixture
def box() -> Iterator[TestMachine]:
    box = TestMachine()
    for node in ("source", "target", "other"):
        box.execute("blockdev-add", driver="null-co", node_name=node, size=64 << 20)
    yield box
    box.execute("job-cancel", id="mirror")


def _mirror(box: TestMachine, **options: Any) -> None:
    nodes = {"device": "source", "target": "target", "filter_node_name": "filter"}
    box.execute("blockdev-mirror", job_id="mirror", **nodes, **options)
    box.events.clear()


@pytest.mark.parametrize(("node", "pairs"), PAUSES)
def test_a_job_pauses(box: TestMachine, node: str, pairs: int) -> None:
    _mirror(box, sync="full", speed=1)
    box.hmp(f'qemu-io {node} "read -q 0 64k"')
    changes = [data["status"] for name, data in box.events if name == "JOB_STATUS_CHANGE"]
    assert changes == ["paused", "running"] * pairs


def test_a_ready_mirror_has_copied_a_write_when_the_command_returns(box: TestMachine) -> None:
    _mirror(box, sync="none")
    box.hmp('qemu-io filter "write -q 0 64k"')
    (job,) = box.execute("query-jobs")
    assert (job["current-progress"], job["total-progress"]) == (65536, 65536)
