"""How often each cluster of a file is referred to, in as little memory as there are references."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Final

PAGE: Final = 1 << 12
"""Clusters at most whose counts are kept together."""


class Counts:
    """A count for each cluster, 0 at first: a file may go on for exabytes behind the last in use.

    :param clusters: how many there are
    :param block: how many a refcount block counts, a power of two
    """

    def __init__(self, clusters: int, block: int) -> None:
        self._length = clusters
        self.page_size = min(block, PAGE)
        self._pages: dict[int, array[int]] = {}
        self._order: list[int] = []

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, cluster: int) -> int:
        page = self._pages.get(cluster // self.page_size)
        return 0 if page is None else page[cluster % self.page_size]

    def __setitem__(self, cluster: int, count: int) -> None:
        number = cluster // self.page_size
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = array("Q", bytes(8 * self.page_size))
            insort(self._order, number)
        page[cluster % self.page_size] = count

    def reach(self, clusters: int) -> None:
        """Be for so many clusters at least."""
        self._length = max(self._length, clusters)

    def pages(self) -> list[int]:
        """The numbers of the pages that may have other counts than 0, in their order."""
        return self._order

    def page(self, number: int) -> list[int] | None:
        """The counts of a page; None where all of them are 0."""
        page = self._pages.get(number)
        return None if page is None else page.tolist()

    def used(self, first: int, end: int) -> int:
        """The first cluster from `first` on with a count; `end` where there is none before."""
        for number in self._from(first, end):
            base, page = number * self.page_size, self._pages[number]
            for at in range(max(first - base, 0), min(end - base, self.page_size)):
                if page[at]:
                    return base + at
        return end

    def all_used(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """The clusters of a range that have counts, with these."""
        for number in self._from(first, end):
            base = number * self.page_size
            for cluster, count in enumerate(self._pages[number], base):
                if count and first <= cluster < end:
                    yield cluster, count

    def _from(self, first: int, end: int) -> Iterator[int]:
        """The pages of a range."""
        at = bisect_left(self._order, first // self.page_size)
        while at < len(self._order) and self._order[at] * self.page_size < end:
            yield self._order[at]
            at += 1
