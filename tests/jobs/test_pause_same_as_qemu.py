"""Pausing jobs that only wait for their speed limit: the event comes before the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.block.files import Files, both_programs

SIZE = 100 << 20
JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "backup": ("blockdev-backup", {"sync": "full", "speed": 65536}),
    "mirror": ("blockdev-mirror", {"sync": "full", "speed": 65536}),
    "ready mirror": ("blockdev-mirror", {"sync": "none"}),
}


@pytest.fixture
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    with both_programs(tmp_path_factory.mktemp("pause")) as both:
        for node in ("source", "target"):
            both.add("null-co", node, size=SIZE)
        yield both


@pytest.mark.parametrize("job", JOBS)
def test_paused_and_resumed(both: Files, job: str) -> None:
    command, options = JOBS[job]
    both.execute(command, device="source", target="target", **options, **{"job-id": "j"})
    for _ in range(3):
        both.execute("job-pause", id="j")
        [info] = both.execute("query-jobs")["return"]
        assert info["status"] in ("paused", "standby")
        both.execute("job-resume", id="j")
    both.execute("block-job-pause", device="j")
    both.execute("block-job-pause", device="j")
    both.execute("block-job-resume", device="j")
