"""Python's collector, as a server has it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from qmpd.server import collecting
from qmpd.server.collecting import Collecting


class Thing:
    """Something of which there are many; in a cycle, if it has itself."""

    alive = 0

    def __init__(self) -> None:
        self.itself: Thing | None = None
        Thing.alive += 1

    def __del__(self) -> None:
        Thing.alive -= 1


@pytest.fixture
def watched() -> Iterator[Collecting]:
    """The collector is watched, and finds every full collection long."""
    before = gc.get_freeze_count()
    watched = Collecting()
    watched.begin()
    yield watched
    watched.end()
    if not before:
        gc.unfreeze()


def cycles(count: int) -> list[Thing]:
    things = [Thing() for _ in range(count)]
    for thing in things:
        thing.itself = thing
    return things


def test_what_is_in_use_is_not_looked_through_again(
    watched: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "LONG", -1)
    things = cycles(1000)
    gc.collect()
    assert not any(thing is things[0] for thing in gc.get_objects())
    # garbage of later is found as ever
    cycles(10)
    gc.collect()
    assert Thing.alive == 1000


def test_what_becomes_garbage_later_is_found_when_nobody_waits(
    watched: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "LONG", -1)
    monkeypatch.setattr(collecting, "MANY", 1 << 40)  # as many as other tests have left
    things = cycles(1000)
    gc.collect()
    before = Thing.alive
    things.clear()
    gc.collect()
    watched.look(quiet=False)
    assert Thing.alive == before
    watched.look(quiet=True)
    assert Thing.alive == before - 1000


def test_it_is_found_in_time_where_there_may_be_much(
    watched: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "LONG", -1)
    monkeypatch.setattr(collecting, "MANY", 500)
    things = cycles(1000)
    gc.collect()
    before = Thing.alive
    things.clear()
    watched.look(quiet=False)
    assert Thing.alive == before - 1000
