"""Zeroes that may be unmapped: whose leave holes in a file, as each version has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.block.files import Files
from tests.support.versions import MEASURED

SIZE = 1 << 20
FILE: dict[str, Any] = {"driver": "file", "filename": "data"}
RAW: dict[str, Any] = {"driver": "raw", "file": FILE}
UNMAPS = {"discard": "unmap"}
NODES: dict[str, dict[str, Any]] = {
    "raw": RAW,
    "raw that unmaps": RAW | UNMAPS,
    "filter": {"driver": "copy-on-read", "file": RAW | UNMAPS},
    "filter that unmaps": {"driver": "copy-on-read", "file": RAW} | UNMAPS,
    "both": {"driver": "copy-on-read", "file": RAW | UNMAPS} | UNMAPS,
    "blkdebug": {"driver": "blkdebug", "image": RAW | UNMAPS},
}


@pytest.fixture(scope="module", params=MEASURED)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Files]:
    both = Files(tmp_path_factory.mktemp("unmap"), version=request.param)
    both.add("null-co", "target", size=SIZE)
    yield both
    both.close()


def _blocks(both: Files) -> list[int]:
    return [(both.scratch / side / "data").stat().st_blocks for side in ("real", "ours")]


@pytest.mark.parametrize("node", NODES)
def test_zeroes(both: Files, node: str) -> None:
    both.make("data", SIZE, b"x" * SIZE)
    both.add(node="node", **NODES[node])
    for line in ("write -q -z 64k 64k", "write -q -z -u 256k 64k", "discard -q 512k 64k"):
        both.io("node", line)
        real, ours = _blocks(both)
        assert ours == real, line
    both.delete("node")


def test_zeroes_through_the_filter_of_a_mirror(both: Files) -> None:
    both.make("data", SIZE, b"x" * SIZE)
    both.add(node="node", **RAW | UNMAPS)
    copy = {"device": "node", "target": "target", "sync": "none", "job-id": "j"}
    both.execute("blockdev-mirror", **copy, **{"filter-node-name": "filter"})
    line = 'qemu-io filter "write -q -z -u 256k 64k"'
    hmp = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
    for program in (both.real, both.ours):
        program.execute(hmp)
    real, ours = _blocks(both)
    assert ours == real
    for program in (both.real, both.ours):
        program.execute({"execute": "block-job-cancel", "arguments": {"device": "j"}})
        while program.message().get("event") != "BLOCK_JOB_COMPLETED":
            pass
    both.delete("node")
