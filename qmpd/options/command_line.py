"""One option of a command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command line, as it was given.

    :param name: without dashes
    :param argument: None for an option without an argument
    :param location: option and argument as they were written; messages about it begin with this
    """

    name: str
    argument: str | None
    location: str

    @property
    def value(self) -> str:
        """The argument of an option that always has one."""
        assert self.argument is not None
        return self.argument
