"""Jobs that cannot start: the same refusals as QEMU's, and a graph as before."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.block.files import Files, both_programs

JOBS: dict[str, dict[str, Any]] = {
    "block-stream": {"device": "top"},
    "block-commit": {"device": "top"},
    "blockdev-mirror": {"device": "top", "target": "target", "sync": "full"},
    "blockdev-backup": {"device": "top", "target": "target", "sync": "full"},
}
REFUSED: list[dict[str, Any]] = [
    {"filter-node-name": "top"},
    {"filter-node-name": "9"},
    {"filter-node-name": ""},
    {"speed": -1},
    {"job-id": "9"},
    {"job-id": ""},
]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    with both_programs(tmp_path_factory.mktemp("start")) as both:
        for side in ("real", "ours"):
            for image in ("base 1M", "target 1M", "-b base -F qcow2 top"):
                make = ["qemu-img", "create", "-q", "-f", "qcow2", *image.split()]
                subprocess.run(make, cwd=both.scratch / side, check=True)
        for name in ("top", "target"):
            both.add("qcow2", name, file={"driver": "file", "filename": name})
        yield both


@pytest.mark.parametrize("refused", REFUSED, ids=str)
@pytest.mark.parametrize("command", JOBS)
def test_refused(chain: Files, command: str, refused: dict[str, Any]) -> None:
    answer = chain.execute(command, **({"job-id": "job"} | JOBS[command] | refused))
    assert "error" in answer
    chain.look()
