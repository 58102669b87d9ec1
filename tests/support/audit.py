"""Watches all tests of a run: who opens, makes or removes files on behalf of a machine.

With ``QMPD_AUDIT=1`` in the environment each test fails in which a machine's own code (not its
server's, and not the test's) touches a file other than by the gate, or by the gate of a machine
whose images are in memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2] / "qmpd"

MACHINES: Final = tuple(
    f"{ROOT}/{room}/"
    for room in ("block", "jobs", "export", "transaction", "machine", "monitor", "sim/guests")
)
"""What works for clients."""

GATE: Final = f"{ROOT}/block/images/host_files.py"

LIBRARY: Final = str(Path(os.__file__).parent)

OTHERS: Final = (
    "/block/images/fdsets.py",  # descriptors that clients have handed over
    "/monitor/journal.py",  # the record of a program
)

TOUCHES: Final = frozenset(
    {"open", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link"}
    | {"os.truncate", "os.chmod", "os.listdir", "os.scandir", "subprocess.Popen", "shutil.rmtree"}
)
"""Events of Python that are about files, by their paths."""

found: list[str] = []
"""What has been touched and should not have been."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in TOUCHES or isinstance(arguments[0], int):
        return
    frame = _nearest(sys._getframe(1))
    if frame is None:
        return
    name = frame.f_code.co_filename
    if name == GATE:
        files = frame.f_locals["self"]
        wrong = files.access.mode == "memory" and not files.is_naming
    else:
        wrong = name.startswith(MACHINES) and not name.endswith(OTHERS)
    if wrong:
        found.append(f"{event} {arguments[0]!r} by {name}:{frame.f_lineno}")


def _nearest(frame: FrameType | None) -> FrameType | None:
    """The nearest frame that is not Python's own; None where sources of modules are read."""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib") or name.endswith("/linecache.py"):
            return None
        if not name.startswith(LIBRARY):
            return frame
        frame = frame.f_back
    return None


def install() -> None:
    """Begin to watch; it lasts as long as the process."""
    sys.addaudithook(_watch)


class Audit:
    """Fails tests that have touched something."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        found.clear()
        result = yield
        if found:
            pytest.fail("\n".join(found), pytrace=False)
        return result
