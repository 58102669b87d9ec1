"""Counting votes: the value that most voters have."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from qmpd.base.newest_first import NewestFirst

V = TypeVar("V", bound=Hashable)


@dataclass(slots=True, eq=False)
class Version(Generic[V]):
    """A value and its voters, the latest first."""

    value: V
    voters: NewestFirst[int] = field(default_factory=NewestFirst)


class Votes(Generic[V]):
    """The votes cast so far."""

    def __init__(self) -> None:
        self.versions: NewestFirst[Version[V]] = NewestFirst()

    def add(self, value: V, voter: int) -> None:
        """Record that voter number `voter` has `value`."""
        found = next((v for v in self.versions if v.value == value), None)
        if found is None:
            found = Version(value)
            self.versions.add(found)
        found.voters.add(voter)

    def winner(self) -> Version[V]:
        """The value with the most votes; of equally many the last."""
        return max(self.versions, key=lambda version: len(version.voters))
