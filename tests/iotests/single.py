"""Run one test in a process of its own, and leave nothing of it behind.

    python -m tests.iotests.single SOURCES TOOLS PLACE NAME FORMAT SECONDS

All files of the test are in the folder PLACE, which goes with it.  The last line of the output is
the result, as JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER = 1, 24, 36
_CAP_DAC_OVERRIDE = 1

PROGRAMS = {
    "QEMU_PROG": "qemu-system-x86_64",
    "QSD_PROG": "qemu-storage-daemon",
    "QEMU_IMG_PROG": "qemu-img",
    "QEMU_IO_PROG": "qemu-io",
    "QEMU_NBD_PROG": "qemu-nbd",
}
"""The variables by which QEMU's tests are told their programs."""

_UNWANTED = (
    *("QEMU_OPTIONS", "IMGOPTS", "GDB_OPTIONS", "VALGRIND_QEMU", "PRINT_QEMU"),
    "PYTHONDONTWRITEBYTECODE",
)


def main() -> int:
    """Run the test that the command line names."""
    sources, tools, place, name, image, seconds = sys.argv[1:]
    libc = ctypes.CDLL(None)
    # Whatever the test starts comes to us when its parent has gone; we go with ours.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # To root, too, a file that is read-only is so: some tests ask for it.
    libc.prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        result = _run(Path(sources), Path(tools), name, image, float(seconds), Path(place))
    finally:
        _end_all()
        shutil.rmtree(place, ignore_errors=True)
    print(json.dumps(result), flush=True)
    return 0


def _run(
    sources: Path, tools: Path, name: str, image: str, seconds: float, place: Path
) -> dict[str, Any]:
    folder = sources / "tests" / "qemu-iotests"
    kinds = [f"-{kind}" for kind in image.split("-")]
    argv = [sys.executable, str(folder / "check"), "--color", "off"]
    argv += ["--source-dir", str(folder), "--build-dir", str(folder), *kinds, name]
    environment = {key: value for key, value in os.environ.items() if key not in _UNWANTED}
    for variable, program in PROGRAMS.items():
        ours = tools / program
        environment[variable] = str(ours) if ours.exists() else shutil.which(program) or program
    for variable, part in (("TEST_DIR", "t"), ("SOCK_DIR", "s"), ("TMPDIR", "d")):
        (place / part).mkdir(parents=True)
        environment[variable] = str(place / part)
    environment["LC_ALL"] = "C.UTF-8"
    log = place / "log"
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(seconds)
            late = False
        except subprocess.TimeoutExpired:
            late = True
    took = time.monotonic() - began
    _end_all()
    text = log.read_text(encoding="utf-8", errors="replace")
    bad = next((place / "t").rglob(f"{name}.out.bad"), None)
    said = "" if bad is None else bad.read_text(encoding="utf-8", errors="replace")
    return _judge(text, said, late) | {
        "seconds": round(took, 1),
        "log": text.replace(str(place), ""),
    }


def _judge(text: str, said: str, late: bool) -> dict[str, Any]:
    """What became of the test, by what ``check`` and the test have said."""
    if late:
        return {"outcome": "late", "methods": _methods(said)}
    if re.search(r"^Passed all 1 iotests", text, re.M):
        return {"outcome": "pass", "methods": None}
    if re.search(r"^Not run:", text, re.M):
        why = re.search(r"not run\s.*?\.\.\.\s+(.*)$", text, re.M)
        return {"outcome": "not run", "methods": None, "why": why[1].strip() if why else ""}
    return {"outcome": "FAIL", "methods": _methods(said)}


def _methods(said: str) -> tuple[int, int] | None:
    """How many methods have passed, and how many there are, where the test has methods."""
    ran = re.search(r"^Ran (\d+) tests?", said, re.M)
    if ran is None:
        return None
    total = int(ran[1])
    end = re.search(r"^(?:FAILED|OK) \((.*)\)$", said, re.M)
    failed = sum(int(count) for count in re.findall(r"=(\d+)", end[1])) if end else 0
    return total - failed, total


def _children() -> list[int]:
    """Everything that has been started from here and runs still."""
    below: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text(encoding="latin-1")
            except OSError:
                continue
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state not in "ZX":
                below.setdefault(int(parent), []).append(int(entry))
    found, todo = [], [os.getpid()]
    while todo:
        children = below.get(todo.pop(), [])
        found += children
        todo += children
    return found


def _end_all() -> None:
    """End what a test has left, until nothing is left."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = _children()
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except OSError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        if left:
            time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
