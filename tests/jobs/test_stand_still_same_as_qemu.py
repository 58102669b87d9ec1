"""Jobs that others begin and end beside: how often, and when, they stand still for a moment."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.block.files import Files
from tests.support.versions import MEASURED, real_argv

COPY: dict[str, Any] = {"device": "top", "target": "target", "sync": "full", "job-id": "copy"}
SLOWLY: dict[str, Any] = {"speed": 1, "buf-size": 65536, "granularity": 65536}
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "an image of the chain that has no backing file": ("block-stream", {"device": "base"}),
    "another image that has none": ("block-stream", {"device": "alone"}),
    "a filter whose name is taken": (
        "block-commit",
        {"device": "above", "top-node": "over", "base-node": "alone", "filter-node-name": "top"},
    ),
    "a filter whose name is none": (
        "block-commit",
        {"device": "above", "top-node": "over", "base-node": "alone", "filter-node-name": "%"},
    ),
    "a bad speed": ("block-commit", {"device": "above", "speed": -1}),
    "a taken id": ("block-stream", {"device": "above", "job-id": "copy"}),
}


@pytest.fixture(scope="module", params=MEASURED)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Files]:
    argv = real_argv(request.param, ["qemu-img", "create", "-q", "-f", "qcow2"])
    both = Files(tmp_path_factory.mktemp("beside"), version=request.param)
    backing = {"base": None, "top": "base", "alone": None, "over": "alone", "above": "over"}
    for name, below in backing.items():
        for side in ("real", "ours"):
            subprocess.run([*argv, name, "1M"], cwd=both.scratch / side, check=True)
        file = {"driver": "file", "filename": name}
        both.add("qcow2", name, file=file, backing=below)
    both.io("top", "write -q 0 1M")
    both.add("null-co", "target", size=1 << 20, read_zeroes=True)
    both.execute("blockdev-mirror", **COPY, **SLOWLY)
    for program in (both.real, both.ours):
        while _copied(program.execute({"execute": "query-jobs"})) < 65536:
            pass
    yield both
    both.close()


def _copied(messages: list[Any]) -> int:
    copied: int = messages[-1]["return"][0]["current-progress"]
    return copied


@pytest.mark.parametrize("other", OTHERS)
def test_beside(both: Files, other: str) -> None:
    """All that is said until the answer is compared."""
    command, arguments = OTHERS[other]
    both.execute(command, **({"job-id": "other"} | arguments))
