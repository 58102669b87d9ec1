"""A set of integers kept as ranges: which pages of a sparse file there are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Ranges:
    """A set of integers that costs memory for each run of neighbours, not for each integer."""

    __slots__ = ("_ends", "starts")

    def __init__(self) -> None:
        # Disjoint, in order, and never touching: starts[i] < ends[i] < starts[i + 1].
        self.starts: list[int] = []
        """The first integers of the runs: there are none if the set is empty."""
        self._ends: list[int] = []

    def __bool__(self) -> bool:
        return bool(self.starts)

    def copy(self) -> Ranges:
        """A set of its own with the same integers."""
        other = Ranges()
        other.starts, other._ends = self.starts.copy(), self._ends.copy()
        return other

    def runs(self) -> list[tuple[int, int]]:
        """The runs, each with its first integer and the one after its last."""
        return list(zip(self.starts, self._ends, strict=True))

    def total(self) -> int:
        """How many integers are in the set."""
        return sum(self._ends) - sum(self.starts)

    def add(self, first: int, end: int) -> None:
        """Add the integers from `first` up to, not including, `end`."""
        if first >= end:
            return
        starts, ends = self.starts, self._ends
        low = bisect_left(ends, first)
        high = bisect_right(starts, end)
        if high - low == 1:
            if first < starts[low]:
                starts[low] = first
            if end > ends[low]:
                ends[low] = end
            return
        if low < high:
            first = min(first, starts[low])
            end = max(end, ends[high - 1])
        starts[low:high] = [first]
        ends[low:high] = [end]

    def remove(self, first: int, end: int) -> list[tuple[int, int]]:
        """Remove the integers from `first` up to `end`.

        :returns: the runs that were there, each with its first integer and the one after its last
        """
        starts, ends = self.starts, self._ends
        low = bisect_right(ends, first)
        high = bisect_left(starts, end)
        if low >= high or first >= end:
            return []
        runs = list(zip(starts[low:high], ends[low:high], strict=True))
        kept = []
        if runs[0][0] < first:
            kept.append((runs[0][0], first))
        if runs[-1][1] > end:
            kept.append((end, runs[-1][1]))
        starts[low:high] = [start for start, _ in kept]
        ends[low:high] = [stop for _, stop in kept]
        return [(max(start, first), min(stop, end)) for start, stop in runs]

    def within(self, first: int, end: int) -> list[tuple[int, int]]:
        """The runs between `first` and `end`, cut to that range."""
        low = bisect_right(self._ends, first)
        high = bisect_left(self.starts, end)
        pairs = zip(self.starts[low:high], self._ends[low:high], strict=True)
        return [(max(start, first), min(stop, end)) for start, stop in pairs]

    def has_any(self, first: int, end: int) -> bool:
        """Whether any integer from `first` up to, not including, `end` is in the set."""
        if first >= end:
            return False
        index = bisect_right(self._ends, first)
        return index < len(self.starts) and self.starts[index] < end

    def run_at(self, number: int) -> tuple[bool, int | None]:
        """Whether `number` is in the set, and the next integer for which that is not so.

        The second is None when `number` and everything above it are missing.
        """
        index = bisect_right(self._ends, number)
        if index == len(self.starts):
            return False, None
        if self.starts[index] <= number:
            return True, self._ends[index]
        return False, self.starts[index]
