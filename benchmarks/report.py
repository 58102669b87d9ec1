"""What was measured: lines as they come, and all of them as a page of Markdown."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

HEAD: Final = """\
# What was measured

Written by `make results` (`python -m benchmarks --results FILE`), all in one run: each figure is
that of qmpd beside that of QEMU's own program on the same machine, one after the other in several
rounds. The ratio is qmpd's figure divided by QEMU's; the target says what it, or the figure
itself, has to be. Figures of absolute time depend on the machine and on what else it does;
ratios do much less.
"""


class Line(NamedTuple):
    """One figure; `real` is QEMU's, `aim` what is to be reached, `said` whether it is."""

    name: str
    unit: str
    ours: float
    real: float | None
    ratio: float | None
    aim: str
    said: str


class Report:
    """Takes figures and prints them.

    :param words: what is measured: figures whose names hold one of them; none: all
    :param quick: whether fewer rounds will do
    :param page: where all figures so far are written, after each
    """

    def __init__(self, words: list[str], *, quick: bool = False, page: Path | None = None) -> None:
        self._page = page
        self._words = words
        self.quick = quick
        self.lines: list[Line] = []
        print(f"{'':42} {'qmpd':>12} {'QEMU':>12} {'':4} {'ratio':>8}  {'target':12}")

    def wants(self, name: str) -> bool:
        """Whether a figure is to be measured."""
        return not self._words or any(word in name for word in self._words)

    @property
    def good(self) -> bool:
        """Whether no target was missed."""
        return all(line.said != "MISSED" for line in self.lines)

    def add(
        self,
        name: str,
        unit: str,
        ours: float,
        real: float | None = None,
        *,
        ratio: float | None = None,
        target: float | None = None,
        limit: float | None = None,
        more_is_better: bool = False,
    ) -> None:
        """Take a figure.

        :param ratio: where it is not simply that of the figures
        :param target: what the ratio must be, at most, or at least where more is better
        :param limit: what qmpd's own figure must not exceed
        """
        if ratio is None and real is not None:
            ratio = ours / real
        reached = []
        aim = f"<= {limit:g} {unit}".rstrip() if limit is not None else ""
        if limit is not None:
            reached.append(ours <= limit)
        if target is not None:
            aim = f"{'>=' if more_is_better else '<='} {target:.3g}"
            if ratio is not None:
                reached.append(ratio >= target if more_is_better else ratio <= target)
        said = "" if not reached else "ok" if all(reached) else "MISSED"
        self.lines.append(Line(name, unit, ours, real, ratio, aim, said))
        shown = "-" if real is None else f"{real:.2f}"
        part = "-" if ratio is None else f"{ratio:.3g}"
        print(f"{name:42} {ours:12.2f} {shown:>12} {unit:4} {part:>8}  {aim:12} {said}", flush=True)

        if self._page is not None:
            self.write(self._page)

    def skip(self, name: str, reason: str) -> None:
        """Take note that a figure cannot be measured."""
        print(f"{name:42} skipped: {reason}", flush=True)

    def write(self, path: Path) -> None:
        """Write all figures as a page."""
        rows = [
            "| | qmpd | QEMU | | ratio | target | |",
            "|---|---:|---:|---|---:|---|---|",
        ]
        for line in self.lines:
            real = "" if line.real is None else f"{line.real:.2f}"
            ratio = "" if line.ratio is None else f"{line.ratio:.3g}"
            said = "missed" if line.said == "MISSED" else line.said
            aim = line.aim.replace("<=", "≤").replace(">=", "≥")
            cells = (line.name, f"{line.ours:.2f}", real, line.unit, ratio, aim, said)
            rows.append(f"| {' | '.join(cells)} |")
        page = f"{HEAD}\n{machine()}\n\n" + "\n".join(rows) + "\n"
        path.write_text(page, encoding="utf-8")


def machine() -> str:
    """The machine, in a few words."""
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    load = os.getloadavg()[1]
    program = shutil.which("qemu-storage-daemon")
    version = "not installed"
    if program is not None:
        text = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
        version = text.partition("\n")[0].removeprefix("qemu-storage-daemon version ")
    return (
        f"Machine: {os.cpu_count()} CPUs ({model}), Linux {platform.release()}, Python"
        f" {platform.python_version()}; QEMU {version}; load of the last five minutes {load:.1f}."
    )
