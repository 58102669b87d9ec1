"""The requests that kill QEMU 10.0.2 get the answer they should have had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import QMPD_SYSTEM
from tests.support.stdio import StdioProgram

NODE = {"driver": "null-co", "node-name": "n", "size": 1 << 20}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[StdioProgram]:
    argv = [*QMPD_SYSTEM, "-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"]
    program = StdioProgram(argv, tmp_path)
    program.message()
    program.execute({"execute": "qmp_capabilities"})
    program.execute({"execute": "blockdev-add", "arguments": NODE})
    bitmap = {"node": "n", "name": "b"}
    program.execute({"execute": "block-dirty-bitmap-add", "arguments": bitmap})
    yield program
    program.close()


def _transaction(*actions: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    listed = [{"type": kind, "data": data} for kind, data in actions]
    return {"execute": "transaction", "arguments": {"actions": listed}}


def test_merge_of_no_bitmaps_changes_nothing(program: StdioProgram) -> None:
    arguments = {"node": "n", "target": "b", "bitmaps": []}
    request = {"execute": "block-dirty-bitmap-merge", "arguments": arguments}
    assert program.execute(request) == [{"return": {}}]
    assert program.execute(_transaction(("block-dirty-bitmap-merge", arguments))) == [
        {"return": {}}
    ]


@pytest.mark.parametrize(
    ("node", "desc"),
    [("n", "Dirty bitmap 'nope' not found"), ("zz", "Node 'zz' not found")],
)
def test_enable_action_of_an_unknown_bitmap(program: StdioProgram, node: str, desc: str) -> None:
    action = ("block-dirty-bitmap-enable", {"node": node, "name": "nope"})
    assert program.execute(_transaction(action)) == [
        {"error": {"class": "GenericError", "desc": desc}}
    ]
