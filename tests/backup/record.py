"""``python -m tests.backup.record``: record the table of bitmaps from the real QEMU."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.backup.cells import all_cells, play
from tests.backup.program import DiskProgram
from tests.backup.test_bitmap_table import RECORDED


def main() -> None:
    """Play every cell to QEMU and write down what came of it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        DiskProgram(Path(folder) / "images", real=True) as program,
    ):
        lines = [
            f"{json.dumps(str(cell))}: {json.dumps(play(program, cell))}" for cell in all_cells()
        ]
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
