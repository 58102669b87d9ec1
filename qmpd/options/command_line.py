"""An option of a command line, and what is wrong with one."""

from __future__ import annotations

from dataclasses import dataclass


class CommandLineError(Exception):
    """Something on the command line is wrong; the process ends with status 1.

    :param text: QEMU's text, without location
    :param hint: further lines, each ended by a newline
    :param location: the option as given (``-drive file=x``); None where the text stands alone
    """

    def __init__(self, text: str, hint: str = "", location: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint
        self.location = location


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command line, as it was given.

    :param name: without dashes
    :param argument: None when it takes none
    :param location: option and argument as they were written: messages begin with it
    """

    name: str
    argument: str | None
    location: str

    @property
    def value(self) -> str:
        """The argument of an option that takes one."""
        assert self.argument is not None
        return self.argument
