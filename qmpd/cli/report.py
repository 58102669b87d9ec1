"""How QEMU's programs complain: ``PROGRAM: LOCATION: TEXT`` on standard error."""

from __future__ import annotations

import os
import sys


def put_own_modules_first() -> None:
    """Let modules in ``PYTHONPATH`` hide none of Python's or qmpd's.

    Harnesses set it to trees of their own, for the tools that they run beside this program.
    """
    strange = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path.sort(key=lambda entry: entry in strange and entry != "")


def _iso_time() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ ")


class Program:
    """The running program as it introduces itself.

    :param argv0: how it was called; messages begin with its last component
    """

    def __init__(self, argv0: str) -> None:
        self.name = os.path.basename(argv0)
        self.timestamps = False
        """Whether messages begin with the time (``-msg timestamp=on``)."""

    def message(self, text: str, location: str | None = None, hint: str = "") -> None:
        """Print a message to standard error."""
        where = f"{location}: " if location else ""
        time = _iso_time() if self.timestamps else ""
        self.print_error(f"{time}{self.name}: {where}{text}\n{hint}")

    @staticmethod
    def print(text: str) -> None:
        """Print to standard output."""
        sys.stdout.write(text)
        sys.stdout.flush()

    @staticmethod
    def print_error(text: str) -> None:
        """Print to standard error as it is."""
        sys.stderr.write(text)
        sys.stderr.flush()

    def warn(self, text: str, location: str | None = None, hint: str = "") -> None:
        """Print a warning to standard error."""
        self.message(f"warning: {text}", location, hint)
