"""How QEMU's programs complain: ``PROGRAM: LOCATION: TEXT`` on standard error."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qmpd.base.console import write
from qmpd.errors import GenericError, QmpError


@contextmanager
def starting_program() -> Iterator[None]:
    """What a program that serves does around all else; `serving` is called within."""
    _put_own_modules_first()
    # nearly all that is made until `serving` stays
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def serving() -> None:
    """The program has been set up: what there is now need not be looked through for garbage."""
    gc.freeze()
    gc.enable()


def _put_own_modules_first() -> None:
    """Let modules in ``PYTHONPATH`` hide none of Python's or qmpd's.

    Test harnesses set it to trees of their own, for the tools that they run beside this program.
    """
    strange = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path.sort(key=lambda entry: entry in strange and entry != "")


class InFile(str):
    """A line of a configuration file, ``FILE:LINE``, as the location of an option."""


class CommandLineError(GenericError):
    """An option is wrong; the process ends with status 1.

    :param location: the option as given (``-drive file=x``), which QEMU prints before the text;
        "" for none; None until `located` fills it in
    """

    def __init__(self, desc: str, hint: str | None = None, location: str | None = None) -> None:
        super().__init__(desc, hint)
        self.location = location


def located(error: QmpError, location: str | None) -> CommandLineError:
    """`error` as a complaint about the option at `location`, unless it names its own already."""
    if isinstance(error, CommandLineError) and error.location is not None:
        return error
    return CommandLineError(error.desc, error.hint, location)


class Probe(Exception):
    """An option asks for something to be printed, which ends the program.

    :param text: what standard output gets
    :param status: of the process
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


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
        self.words: Callable[[str], str] = str
        """Puts the text of an error into the words of the version that the program is."""
        self.names_options = True
        """Whether messages tell the option that they are about."""

    def message(self, text: str, location: str | None = None, hint: str | None = None) -> None:
        """Print a message to standard error, as QEMU's ``error_report`` does.

        :param hint: further lines, which follow as they are
        """
        time = _iso_time() if self.timestamps else ""
        more = f"{hint}\n" if hint else ""
        self.print_error(f"{time}{self.place(location)}{text}\n{more}")

    def place(self, location: str | None) -> str:
        """What a message about the option at `location` begins with."""
        if not location or not self.names_options:
            return f"{self.name}: "
        between = ":" if isinstance(location, InFile) else ": "
        return f"{self.name}{between}{location}: "

    def complain(self, error: QmpError) -> None:
        """Print an error, with its location and hint."""
        location = error.location if isinstance(error, CommandLineError) else None
        self.message(self.words(error.desc), location, error.hint)

    def answer(self, probe: Probe) -> int:
        """Print what was asked for; returns the status of the process."""
        self.print(probe.text)
        return probe.status

    @staticmethod
    def print(text: str) -> None:
        """Print to standard output."""
        write(sys.stdout, text)

    @staticmethod
    def print_error(text: str) -> None:
        """Print to standard error as it is."""
        write(sys.stderr, text)

    def warn(self, text: str, location: str | None = None, hint: str | None = None) -> None:
        """Print a warning to standard error."""
        self.message(f"warning: {text}", location, hint)
