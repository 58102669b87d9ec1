"""blockdev-set-active while jobs work: what is given up, what refuses, who pauses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.block.files import Files, both_programs

SIZE = 1 << 20
JOBS: dict[str, dict[str, Any]] = {
    "blockdev-backup": {"x-perf": {"max-workers": 1, "max-chunk": 65536}},
    "blockdev-mirror": {},
}


@pytest.fixture
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    with both_programs(tmp_path_factory.mktemp("active")) as both:
        for node in ("source", "target", "other"):
            both.add("null-co", node, size=SIZE)
        yield both


def _is_active(both: Files) -> dict[str, bool]:
    nodes = both.execute("query-named-block-nodes", flat=True)["return"]
    return {node["node-name"]: node["active"] for node in nodes}


@pytest.mark.parametrize("command", JOBS)
def test_jobs_at_work(both: Files, command: str) -> None:
    options = JOBS[command] | {"job-id": "j", "speed": 1, "sync": "full"}
    both.execute(command, device="source", target="target", **options)
    seen = []
    for node in ("other", "source", "target", None, None):
        named = {} if node is None else {"node-name": node}
        for active in (False, True):
            both.execute("blockdev-set-active", active=active, **named)
            seen.append(_is_active(both))
    both.execute("job-cancel", id="j")
    assert any(not all(nodes.values()) for nodes in seen)
    assert all(seen[-1].values())
