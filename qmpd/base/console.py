"""Writing for people: standard output and standard error, which may be closed or broken."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Protocol


class TextFile(Protocol):
    """What `sys.stdout` and `sys.stderr` are, where they are open."""

    def write(self, text: str, /) -> object:
        """Take `text`."""

    def flush(self) -> object:
        """Hand it on."""

    def fileno(self) -> int:
        """The descriptor of the process."""


def write(file: TextFile | None, text: str) -> None:
    """Write `text` at once, and never raise: it is lost where nobody can read it.

    :param file: `sys.stdout` or `sys.stderr`; None where the process was started without
    """
    if file is None:
        return
    try:
        file.write(text)
        file.flush()
    except (OSError, ValueError):
        return


def flush_or_drop(file: TextFile | None) -> None:
    """Flush `file` before the process ends; what nobody reads is dropped.

    Python itself would try again, and end with status 120.

    :param file: `sys.stdout` or `sys.stderr`; None where the process was started without
    """
    if file is None:
        return
    try:
        file.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, file.fileno())
            os.close(null)
