"""What kind of request runs now, said while it runs and not while it waits."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, Generic, Protocol, TypeVar

from qmpd.base.override import override

T = TypeVar("T")


class Marks(Protocol):
    """Where it is said: `qmpd.loop.completions.Completions`."""

    submitted: int
    watched: bool
    patient: bool


class Marked(Generic[T]):
    """Awaits a request; while it runs, and not while it waits, `completions` says what it is."""

    def __init__(self, completions: Marks, request: Coroutine[Any, Any, T]) -> None:
        self._completions = completions
        self._request = request

    def _mark(self) -> bool:
        """Say so; returns what was said before."""
        raise NotImplementedError

    def _unmark(self, before: bool) -> None:
        """Say again what was said before."""
        raise NotImplementedError

    def __await__(self) -> Generator[Any, Any, T]:
        request = self._request
        thrown: BaseException | None = None
        while True:
            before = self._mark()
            try:
                waiter = request.send(None) if thrown is None else request.throw(thrown)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                self._unmark(before)
            thrown = None
            try:
                yield waiter
            except BaseException as error:
                thrown = error


class Watch(Marked[T]):
    """Sees whether it is the request that reaches a file, not another's."""

    reached_file = False
    _submitted = 0

    @override
    def _mark(self) -> bool:
        completions = self._completions
        self._submitted = completions.submitted
        before, completions.watched = completions.watched, True
        return before

    @override
    def _unmark(self, before: bool) -> None:
        self._completions.watched = before
        if self._completions.submitted != self._submitted:
            self.reached_file = True


class Patient(Marked[T]):
    """Says that the request may wait for a disk."""

    @override
    def _mark(self) -> bool:
        before, self._completions.patient = self._completions.patient, True
        return before

    @override
    def _unmark(self, before: bool) -> None:
        self._completions.patient = before
