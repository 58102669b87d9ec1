"""Every way that a backup can treat its bitmap, as short plays.

A bitmap has clusters 1, 2, 3 and 9 dirty when the job begins; the guest may write clusters
2 and 5 while it has copied one cluster; the target may refuse cluster 9.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.backup.program import CLUSTER, DiskProgram

MODES = (
    ("incremental", "on-success"),
    ("bitmap", "on-success"),
    ("bitmap", "always"),
    ("bitmap", "never"),
    ("full", "on-success"),
    ("full", "always"),
    ("top", "on-success"),
    ("top", "always"),
)
ENDINGS = ("success", "failure", "cancel", "cancel-pending")
FAILING = 9


@dataclass(frozen=True)
class Cell:
    """One backup.

    :param ending: how it comes to its end; sibling-failure is for groups alone
    :param writes: whether the guest writes during the job
    :param disabled: whether the bitmap is disabled
    :param grouped: whether it is one of two jobs that complete together
    """

    sync: str
    mode: str
    ending: str
    writes: bool
    disabled: bool
    grouped: bool

    def __str__(self) -> str:
        flags = ("writes", "disabled", "grouped")
        words = [self.sync, self.mode, self.ending, *(f for f in flags if getattr(self, f))]
        return " ".join(words)


def all_cells() -> Iterator[Cell]:
    """Every cell of the table."""
    for grouped in (False, True):
        endings = (*ENDINGS, "sibling-failure") if grouped else ENDINGS
        for sync, mode in MODES:
            for ending in endings:
                for writes in (False, True):
                    for disabled in (False, True):
                        yield Cell(sync, mode, ending, writes, disabled, grouped)


def play(program: DiskProgram, cell: Cell) -> dict[str, Any]:
    """Play a cell; what was said, and the bitmap at the end."""
    program.told()
    program.add_target("t0", FAILING if cell.ending == "failure" else None)
    program.add_target("t1", FAILING if cell.ending == "sibling-failure" else None)
    program.do("block-dirty-bitmap-add", node="s0", name="b")
    for first, count in ((1, 3), (9, 1)):
        program.guest(f"write -q {first * CLUSTER} {count * CLUSTER}")
    if cell.disabled:
        program.do("block-dirty-bitmap-disable", node="s0", name="b")
    result = {"answer": _start(program, cell)}
    if result["answer"] == {}:
        _during(program, cell)
        _end(program, cell)
    result["events"] = program.told()
    result["bitmap"] = program.bitmap("b")
    program.do("block-dirty-bitmap-remove", node="s0", name="b")
    program.do("blockdev-del", node_name="t0")
    program.do("blockdev-del", node_name="t1")
    return result


def _start(program: DiskProgram, cell: Cell) -> Any:
    slow: dict[str, Any] = {"speed": 1, "x-perf": {"max-workers": 1, "max-chunk": CLUSTER}}
    first = {
        "job-id": "j0",
        "device": "d0",
        "target": "t0",
        "sync": cell.sync,
        "bitmap": "b",
        "bitmap-mode": cell.mode,
        "auto-finalize": cell.ending != "cancel-pending",
        **slow,
    }
    if not cell.grouped:
        return program.do("blockdev-backup", **first)
    second: dict[str, Any] = {"job-id": "j1", "device": "d1", "target": "t1", "sync": "full"}
    if cell.ending == "sibling-failure":
        second |= slow
    return program.do(
        "transaction",
        properties={"completion-mode": "grouped"},
        actions=[{"type": "blockdev-backup", "data": data} for data in (first, second)],
    )


def _during(program: DiskProgram, cell: Cell) -> None:
    program.until_copied("j0", CLUSTER)
    if cell.ending == "sibling-failure":
        program.until_copied("j1", CLUSTER)
    elif cell.grouped:
        program.until("waiting j1")
    if cell.writes:
        for cluster in (2, 5):
            program.guest(f"write -q {cluster * CLUSTER} 64k")


def _end(program: DiskProgram, cell: Cell) -> None:
    if cell.ending == "cancel":
        program.do("job-cancel", id="j0")
    else:
        last = "j1" if cell.ending == "sibling-failure" else "j0"
        program.do("block-job-set-speed", device=last, speed=0)
    if cell.ending == "cancel-pending":
        program.until("BLOCK_JOB_PENDING j0")
        program.do("job-cancel", id="j0")
    program.until("null j0")
    if cell.grouped:
        program.until("null j1")
