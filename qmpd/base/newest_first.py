"""Lists that QEMU extends at the head, with ``QLIST_INSERT_HEAD`` or ``QAPI_LIST_PREPEND``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


class NewestFirst(list[T]):
    """A list whose newest element comes first.

    >>> jobs = NewestFirst(["a", "b"])
    >>> jobs.add("c")
    >>> list(jobs)
    ['c', 'b', 'a']

    :param elements: its first elements, the oldest first
    """

    def __init__(self, elements: Iterable[T] = ()) -> None:
        if elements:
            super().__init__(elements)
            self.reverse()

    def add(self, element: T) -> None:
        """Put `element` before all others."""
        self.insert(0, element)

    def oldest_first(self) -> list[T]:
        """The elements in the order in which they were added."""
        return self[::-1]
