"""``python -m benchmarks [--quick] [WORD ...]``: measure, and print a table with ratios.

Every figure is the median of three fresh daemons of each kind, in turn (of NBD: see
`benchmarks.nbd`). Words choose the figures whose names hold one of them; ``--quick`` takes
of NBD only the corners. The status is 1 when a target is missed.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable

from benchmarks import in_process, libvirt, nbd, start, suite
from benchmarks.chains import CHAINS
from benchmarks.daemon import Daemon, storage_daemons, system_emulators
from benchmarks.images import HOST_IMAGES, MEMORY_IMAGES
from benchmarks.jobs import HOST_JOBS, MEMORY_JOBS
from benchmarks.measures import MEASURES, SPARSE, Measure
from benchmarks.priority import prioritized

ROUNDS = 3
QUICK = "--quick"


def measure(what: Measure, commands: dict[str, list[str]], *, in_memory: bool) -> dict[str, float]:
    """Median figure of each program, measured in turn."""
    figures: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
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


def verdict(what: Measure, figures: dict[str, float]) -> str:
    """Whether the target is reached; "" where there is none, or nobody to compare with."""
    reached = []
    if what.limit is not None:
        reached.append(figures["qmpd"] <= what.limit)
    if what.target is not None and "QEMU" in figures:
        ratio = figures["qmpd"] / figures["QEMU"]
        reached.append(ratio >= what.target if what.more_is_better else ratio <= what.target)
    return "" if not reached else "ok" if all(reached) else "MISSED"


def run(
    measures: Iterable[Measure],
    commands: dict[str, list[str]],
    words: list[str],
    *,
    in_memory: bool = False,
) -> bool:
    """Print a line for each figure; whether no target was missed."""
    good = True
    for what in measures:
        if words and not any(word in what.name for word in words):
            continue
        figures = measure(what, commands, in_memory=in_memory)
        ours, real = figures["qmpd"], figures.get("QEMU")
        ratio = "-" if real is None else f"{ours / real:.3g}"
        aim = f"<= {what.limit:.0f} {what.unit}" if what.limit is not None else ""
        if what.target is not None:
            aim = f"{'>=' if what.more_is_better else '<='} {what.target:.3g}"
        said = verdict(what, figures)
        good = good and said != "MISSED"
        shown = "-" if real is None else f"{real:12.2f}"
        print(
            f"{what.name:34} {ours:12.2f} {shown:>12} {what.unit:4} {ratio:>8}  {aim:10} {said}",
            flush=True,
        )
    return good


def main() -> int:
    """Measure everything, or what the command line's words choose."""
    words = [word for word in sys.argv[1:] if word != QUICK]
    quick = QUICK in sys.argv[1:]
    print(f"{'':34} {'qmpd':>12} {'QEMU':>12} {'':4} {'ratio':>8}  {'target':10}")
    daemons = run(MEASURES, storage_daemons(), words)
    systems = run(SPARSE, system_emulators(), words)
    host = run(HOST_IMAGES, system_emulators(), words)
    memory = run(MEMORY_IMAGES, system_emulators(), words, in_memory=True)
    jobs = run((*HOST_JOBS, *CHAINS), storage_daemons(), words)
    memory_jobs = run(MEMORY_JOBS, storage_daemons(), words, in_memory=True)
    programs = in_process.run((*start.FIGURES, *in_process.FIGURES), words)
    exports = nbd.run(words, quick=quick)
    tests = suite.run(words)
    clients = libvirt.run(words)
    daemons = daemons and systems and host and memory and jobs and memory_jobs
    return 0 if exports and programs and daemons and tests and clients else 1


if __name__ == "__main__":
    sys.exit(main())
