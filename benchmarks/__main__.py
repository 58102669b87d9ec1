"""``python -m benchmarks [--quick] [--results FILE] [WORD ...]``: measure, and print a table.

Every figure is the median of three fresh daemons of each kind, in turn (of NBD: see
`benchmarks.nbd`). Words choose the figures whose names hold one of them; ``--quick`` takes one
daemon of each, and fewer rounds of NBD; ``--results`` writes them to a file as well. The
status is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks import echo, graph_changes, in_process, libvirt, nbd, start, suite
from benchmarks.chains import CHAINS
from benchmarks.daemon import Daemon, storage_daemons, system_emulators
from benchmarks.images import HOST_IMAGES, MEMORY_IMAGES
from benchmarks.jobs import HOST_JOBS, MEMORY_JOBS
from benchmarks.measures import MEASURES, SPARSE, Measure
from benchmarks.priority import prioritized
from benchmarks.report import Report

ROUNDS = 3


def measure(
    what: Measure, commands: dict[str, list[str]], rounds: int, *, in_memory: bool
) -> dict[str, float]:
    """Median figure of each program, measured in turn."""
    figures: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            figures[name].append(_once(what, command, in_memory=in_memory))
    return {name: statistics.median(values) for name, values in figures.items()}


def _once(what: Measure, command: list[str], *, in_memory: bool) -> float:
    """The figure of one fresh daemon; of another one where it loses its only client.

    QEMU's storage daemon sometimes does: two threads of it read the first request.
    """
    try:
        with prioritized(), Daemon(command, in_memory=in_memory, first=True) as daemon:
            return what.run(daemon)
    except ConnectionError:
        return _once(what, command, in_memory=in_memory)


def run(
    measures: Iterable[Measure],
    commands: dict[str, list[str]],
    report: Report,
    *,
    in_memory: bool = False,
) -> None:
    """Measure what is wanted."""
    for what in measures:
        if report.wants(what.name):
            rounds = 1 if report.quick else ROUNDS
            figures = measure(what, commands, rounds, in_memory=in_memory)
            report.add(
                what.name,
                what.unit,
                figures["qmpd"],
                figures.get("QEMU"),
                target=what.target,
                limit=what.limit,
                more_is_better=what.more_is_better,
            )


def main() -> int:
    """Measure everything, or what the command line's words choose."""
    parser = argparse.ArgumentParser(prog="benchmarks")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--results", type=Path)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    report = Report(options.words, quick=options.quick, page=options.results)
    run(MEASURES, storage_daemons(), report)
    echo.run(report)
    run(SPARSE, system_emulators(), report)
    run(HOST_IMAGES, system_emulators(), report)
    run(MEMORY_IMAGES, system_emulators(), report, in_memory=True)
    run((*HOST_JOBS, *CHAINS), storage_daemons(), report)
    run(MEMORY_JOBS, storage_daemons(), report, in_memory=True)
    in_process.run((*start.FIGURES, *in_process.FIGURES), report)
    nbd.run(report)
    graph_changes.run(report)
    suite.run(report)
    libvirt.run(report)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
