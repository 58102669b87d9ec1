"""A fault: what it waits for is up to its kind, counting is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from qmpd.sim.faults.words import not_below

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Keeper(Protocol):
    """Whoever has installed faults and takes them out again."""

    def forget(self, fault: Fault, /) -> None:
        """Take a fault out."""

    def note(self, **data: Any) -> None:
        """Write something into the machine's journal."""


class Fault:
    """One fault, installed until it is removed; a context manager removes it at its end.

    :param keeper: who has installed it
    :param what: what it is, by the words of whoever asked for it; for the journal and for lists
    :param skip: how many times it lets pass what it waits for
    :param count: how many times it acts after that, None for always
    :raises ValueError: `skip` or `count` is too small
    """

    def __init__(
        self, keeper: Keeper, what: Mapping[str, Any], *, skip: int = 0, count: int | None = None
    ) -> None:
        not_below("skip", skip, 0)
        if count is not None:
            not_below("count", count, 1)
        self.what = {name: value for name, value in what.items() if value is not None}
        if skip:
            self.what["skip"] = skip
        if count is not None:
            self.what["count"] = count
        self.id = ""
        """What the control monitor calls it, once it is installed."""
        self.hits = 0
        """How many times it has acted."""
        self._keeper = keeper
        self._skip = skip
        self._left = count

    def __repr__(self) -> str:
        return f"<Fault {self.describe()}>"

    def describe(self) -> dict[str, Any]:
        """What it is and how many times it has acted (``hits``), as plain values."""
        return {**self.what, "hits": self.hits}

    def remove(self) -> None:
        """Take it out; it can still be asked for its hits.  Doing so again does nothing."""
        self._keeper.forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def meets(self, **where: Any) -> bool:
        """What it waits for has come; whether it acts.

        :param where: what it has met, for the journal
        """
        if self._left == 0:
            return False
        if self._skip:
            self._skip -= 1
            return False
        if self._left is not None:
            self._left -= 1
        self.hits += 1
        self._keeper.note(**{"action": "hit", **self.describe(), **where})
        return True
