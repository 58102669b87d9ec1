"""Every cell of the tables of states and verbs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from qmpd.errors import GenericError
from qmpd.jobs.core.job import Job
from qmpd.jobs.core.states import COMPLETED, READY, TRANSITIONS, VERBS, JobStatus, JobVerb
from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.rate_limit import RateLimit
from tests.jobs.fake import JobWorld, Mirror

STATES = "undefined created running paused ready standby waiting pending aborting concluded null"

MOVES = """
undefined   . x . . . . . . . . .
created     . . x . . . . . x . x
running     . . . x x . x . x . .
paused      . . x . . . . . . . .
ready       . . . . . x x . x . .
standby     . . . . x . . . . . .
waiting     . . . . . . . x x . .
pending     . . . . . . . . x x .
aborting    . . . . . . . . x x .
concluded   . . . . . . . . . . x
null        . . . . . . . . . . .
"""

ACCEPTED = """
cancel      . x x x x x x x . . .
pause       . x x x x x . . . . .
resume      . x x x x x . . . . .
set-speed   . x x x x x . . . . .
change      . x x x x x . . . . .
complete    . . . . x x . . . . .
finalize    . . . . . . . x . . .
dismiss     . . . . . . . . . x .
"""


def _cells(table: str) -> list[tuple[str, str, bool]]:
    return [
        (row.split()[0], state, mark == "x")
        for row in table.strip().splitlines()
        for state, mark in zip(STATES.split(), row.split()[1:], strict=True)
    ]


@pytest.mark.parametrize(("before", "after", "legal"), _cells(MOVES))
def test_moves(before: str, after: str, legal: bool) -> None:
    assert (JobStatus(after) in TRANSITIONS[JobStatus(before)]) == legal
    world = JobWorld()
    job = Mirror(world)
    world.seen()
    job.status = JobStatus(before)
    if not legal:
        with pytest.raises(AssertionError):
            job.move(JobStatus(after))
        return
    job.move(JobStatus(after))
    # A change to the state it is in already is no change.
    assert world.seen() == ([] if before == after else [f"{after} j"])


def _use(job: Mirror, verb: str, world: JobWorld) -> Any:
    """What the commands do for `verb`."""
    if verb == "set-speed":
        return job.set_speed(5)
    if verb == "change":
        return world.run(job.change(SimpleNamespace()))
    if verb == "resume":
        job.user_paused, job.pause_count = True, 1
    return world.run(getattr(job, f"user_{verb}")())


@pytest.mark.parametrize(("verb", "state", "accepted"), _cells(ACCEPTED))
def test_verbs(verb: str, state: str, accepted: bool) -> None:
    assert (JobStatus(state) in VERBS[JobVerb(verb)]) == accepted
    world = JobWorld()
    job = Mirror(world)
    if accepted:
        job.status = JobStatus(state)
        job.check_verb(JobVerb(verb))
        return
    job.status = JobStatus(state)
    with pytest.raises(GenericError) as caught:
        _use(job, verb, world)
    desc = f"Job 'j' in state '{state}' cannot accept command verb '{verb}'"
    assert caught.value.desc == desc


def test_all_verbs_and_states_are_in_the_tables() -> None:
    assert {verb.value for verb in JobVerb} == {
        row.split()[0] for row in ACCEPTED.split("\n")[1:-1]
    }
    assert [status.value for status in JobStatus] == STATES.split()
    assert {status.value for status in READY} == {"ready", "standby"}
    assert {status.value for status in COMPLETED} == set(STATES.split()[6:])


@pytest.mark.parametrize("job_id", ["", "9j", "a b", "ä", "-x", "j\n", "_"])
def test_malformed_ids(job_id: str) -> None:
    world = JobWorld()
    with pytest.raises(GenericError) as caught:
        Mirror(world, job_id)
    assert caught.value.desc == f"Invalid job ID '{job_id}'"
    assert not world.jobs.jobs
    assert world.seen() == []


def test_ids_default_to_the_backend_and_are_unique() -> None:
    world = JobWorld()
    with pytest.raises(GenericError, match=r"^Invalid job ID ''$"):
        Mirror(world, None)
    job = Mirror(world, "a.b-c_9")
    with pytest.raises(GenericError, match=r"^Job ID 'a.b-c_9' already in use$"):
        Mirror(world, "a.b-c_9")
    assert world.jobs.jobs == [job]


def test_job_is_abstract_where_it_must_be() -> None:
    world = JobWorld()
    job = Job(world.jobs, "j")
    with pytest.raises(NotImplementedError):
        world.run(job.run())


def test_rate_limit_follows_slices() -> None:
    """100 ms slices; the first request always passes; an excess stretches the slice."""
    slice_ = NANOSECONDS // 10
    limit = RateLimit()
    assert limit.delay(0, 1 << 40) == 0
    limit.set_speed(1 << 20)
    quota = (1 << 20) // 10
    assert limit.delay(1000) == 0
    assert limit.delay(1000, quota - 1) == 0
    # A full quota takes its slice, ten of them take ten.
    assert limit.delay(1000, 1) == slice_
    assert limit.delay(1000 + slice_ // 2) == slice_ // 2
    assert limit.delay(1000 + slice_ + 1) == 0
    assert limit.delay(1000 + slice_ + 1, 10 * quota) == pytest.approx(10 * slice_, rel=1e-6)
    limit.set_speed(1)
    later = 100 * NANOSECONDS
    assert limit.delay(later) == 0
    assert limit.delay(later, 65536) == 65536 * slice_
    limit.set_speed(0)
    assert limit.delay(later) == 0
