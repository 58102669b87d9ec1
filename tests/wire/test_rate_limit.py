from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.wire.rate_limit import LIMITS, SECOND, RateLimiter


class Event(NamedTuple):
    name: str
    data: dict[str, object] | None
    stamp: int


def event(stamp: int, key: str = "a", name: str = "QUORUM_REPORT_BAD") -> Event:
    return Event(name, {"node-name": key}, stamp)


def test_of_a_burst_the_first_and_the_last() -> None:
    limiter = RateLimiter[Event]()
    assert limiter.deadline() is None
    assert [limiter.offer(event(n), 100 + n) for n in range(5)] == [True, *[False] * 4]
    assert limiter.deadline() == 100 + SECOND
    assert limiter.expire(99 + SECOND) == []
    assert limiter.expire(100 + SECOND) == [event(4)]
    assert limiter.deadline() == 100 + 2 * SECOND
    assert not limiter.offer(event(5), 200 + SECOND)
    assert limiter.expire(100 + 2 * SECOND) == [event(5)]
    assert limiter.expire(100 + 3 * SECOND) == []
    assert limiter.deadline() is None
    assert limiter.offer(event(6), 100 + 3 * SECOND)


@pytest.mark.parametrize(("name", "limit"), LIMITS.items())
def test_keys(name: str, limit: object) -> None:
    limiter = RateLimiter[Event]()
    member = LIMITS[name].member
    data: list[dict[str, object]] = [{member or "x": "a", "other": 1}, {member or "x": "b"}]
    assert limiter.offer(Event(name, data[0], 1), 0)
    assert not limiter.offer(Event(name, {**data[0], "other": 2}, 2), 0)
    assert limiter.offer(Event(name, data[1], 3), 0) == (member is not None)
    assert limiter.offer(Event(name, None, 3), 0) == (member is not None)


def test_other_events_are_not_limited() -> None:
    limiter = RateLimiter[Event]()
    for name in ("JOB_STATUS_CHANGE", "BLOCK_JOB_READY", "STOP", "BLOCK_WRITE_THRESHOLD"):
        assert all(limiter.offer(Event(name, None, n), 0) for n in range(3))
    assert limiter.deadline() is None


def test_periods_end_in_their_order() -> None:
    limiter = RateLimiter[Event]()
    for now, key in ((5, "b"), (3, "a"), (4, "c")):
        assert limiter.offer(event(0, key), now)
        assert not limiter.offer(event(1, key), now)
    assert limiter.deadline() == 3 + SECOND
    held = limiter.expire(10 + SECOND)
    assert [found.data for found in held] == [{"node-name": key} for key in "acb"]
    assert limiter.deadline() == 10 + 2 * SECOND


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, SECOND * 3 // 2)), max_size=30))
def test_never_two_within_a_period_and_the_last_is_never_lost(
    steps: list[tuple[str, int]],
) -> None:
    limiter = RateLimiter[Event]()
    now = 0
    sent: dict[str, list[tuple[int, int]]] = {"a": [], "b": []}
    last: dict[str, int] = {}

    def run_until(end: int) -> None:
        while (deadline := limiter.deadline()) is not None and deadline <= end:
            for found in limiter.expire(deadline):
                assert found.data is not None
                sent[str(found.data["node-name"])].append((deadline, found.stamp))

    for stamp, (key, wait) in enumerate(steps):
        now += wait
        run_until(now)
        if limiter.offer(event(stamp, key), now):
            sent[key].append((now, stamp))
        last[key] = stamp
    run_until(now + 3 * SECOND)
    assert limiter.deadline() is None
    for key, found in sent.items():
        times = [time for time, _ in found]
        assert all(b - a >= SECOND for a, b in pairwise(times))
        stamps = [stamp for _, stamp in found]
        assert stamps == sorted(set(stamps))
        assert not found or stamps[-1] == last[key]
