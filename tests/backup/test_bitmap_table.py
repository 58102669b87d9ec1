"""What a backup leaves of its bitmap, in every case: as recorded from QEMU 10.0.2."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.backup.cells import Cell, all_cells, play
from tests.backup.program import CLUSTER, DiskProgram
from tests.support.programs import qemu_missing

RECORDED = Path(__file__).with_name("bitmap_table.json")


@cache
def recorded() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return table


@pytest.fixture(scope="module", params=["qmpd", "QEMU"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param == "QEMU" and (missing := qemu_missing()) is not None:
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("backup") / "images"
    with DiskProgram(folder, real=request.param == "QEMU") as made:
        # what cells write is allocated from the start, so that each may be played by itself
        for first, count in ((1, 3), (5, 1), (9, 1)):
            made.guest(f"write -q {first * CLUSTER} {count * CLUSTER}")
        yield made


@pytest.mark.parametrize("cell", list(all_cells()), ids=str)
def test_cell(program: DiskProgram, cell: Cell) -> None:
    assert play(program, cell) == recorded()[str(cell)]
