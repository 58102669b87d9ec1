"""File descriptors that somebody has handed over, and who owns them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class Descriptor:
    """Owns an open file descriptor, which is closed with it, or when nobody has it any more.

    :param number: the descriptor
    """

    def __init__(self, number: int) -> None:
        self.number: int | None = number
        """The descriptor; None once it has been closed or given away."""

    def __del__(self) -> None:
        # one that was never finished has nothing to close
        with suppress(AttributeError):
            self.close()

    def detach(self) -> int:
        """Give the descriptor to another owner.

        :raises ValueError: there is none
        """
        number, self.number = self.number, None
        if number is None:
            raise ValueError("the descriptor has been closed or given away")
        return number

    def close(self) -> None:
        """Close it; to close it twice does nothing."""
        number, self.number = self.number, None
        if number is not None:
            with suppress(OSError):
                os.close(number)


class DescriptorName(str):
    """The name of a descriptor that somebody has handed over: text, and a way to have it.

    :param take: takes it; raises GenericError where there is none
    """

    take: Callable[[], Descriptor]

    def __new__(cls, name: str, take: Callable[[], Descriptor]) -> Self:
        """A name, which is text like any other."""
        self = super().__new__(cls, name)
        self.take = take
        return self
