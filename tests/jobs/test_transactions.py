"""Jobs that complete together: orders of sweeps as recorded from QEMU 10.0.2."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from qmpd.block.change.drain import drain_all
from qmpd.errors import GenericError, QmpError
from qmpd.jobs.core.job_txn import JobTxn
from qmpd.jobs.core.states import JobStatus, OnError
from qmpd.loop.clock import NANOSECONDS
from tests.jobs.fake import Copy, JobWorld, Mirror


@pytest.fixture
def world() -> JobWorld:
    return JobWorld()


def _begin(world: JobWorld, jobs: list[Copy]) -> None:
    for job in reversed(jobs):
        job.start()
    world.clock.advance(NANOSECONDS)


def test_all_succeed_the_newest_first(world: JobWorld) -> None:
    txn = JobTxn()
    jobs = [Copy(world, "j0", txn=txn, auto_dismiss=False), Copy(world, "j1", txn=txn)]
    _begin(world, jobs)
    assert world.seen() == [
        *["created j0", "created j1", "running j1", "running j0"],
        # Both end in the same round of the loop, which runs bottom halves the newest first.
        *["waiting j0", "waiting j1", "pending j1", "pending j0"],
        *["COMPLETED j1", "concluded j1", "null j1"],
        *["COMPLETED j0", "concluded j0"],
    ]


def test_one_manual_member_holds_all_and_any_member_finalizes(world: JobWorld) -> None:
    txn = JobTxn()
    jobs = [Copy(world, "j0", txn=txn, auto_finalize=False), Copy(world, "j1", txn=txn)]
    _begin(world, jobs)
    assert world.seen()[6:] == ["pending j1", "pending j0", "PENDING j0"]
    world.run(jobs[1].user_finalize())
    assert world.seen() == [
        *["COMPLETED j1", "concluded j1", "null j1"],
        *["COMPLETED j0", "concluded j0", "null j0"],
    ]


def test_finalize_of_a_waiting_member_is_refused(world: JobWorld) -> None:
    txn = JobTxn()
    jobs = [Copy(world, "j0", txn=txn, speed=1), Copy(world, "j1", txn=txn)]
    _begin(world, jobs)
    assert world.seen()[4:] == ["waiting j1"]
    with pytest.raises(GenericError) as caught:
        world.run(jobs[1].user_finalize())
    assert caught.value.desc == (
        "Job 'j1' in state 'waiting' cannot accept command verb 'finalize'"
    )
    world.run(jobs[0].user_cancel())
    assert world.seen() == [
        *["aborting j0", "aborting j1"],
        *["CANCELLED j1", "concluded j1", "null j1"],
        *["CANCELLED j0", "concluded j0", "null j0"],
    ]


def test_one_fails(world: JobWorld) -> None:
    txn = JobTxn()
    jobs = [
        Copy(world, "j0", txn=txn, speed=1, auto_dismiss=False),
        Copy(world, "j1", txn=txn, failing={0: 1}, auto_dismiss=False),
    ]
    _begin(world, jobs)
    assert world.seen()[4:] == [
        *["ERROR j1: write report", "aborting j1", "aborting j0"],
        *["COMPLETED j1: Input/output error", "concluded j1"],
        *["CANCELLED j0", "concluded j0"],
    ]
    errors = [info["error"] for info in world.jobs.query_jobs()]
    assert errors == ["Input/output error", "Operation canceled"]


def test_one_of_three_is_cancelled_another_is_paused(world: JobWorld) -> None:
    txn = JobTxn()
    jobs = [Copy(world, f"j{i}", txn=txn, speed=1, auto_dismiss=False) for i in range(3)]
    _begin(world, jobs)
    world.run(jobs[0].user_pause())
    world.seen()
    world.run(jobs[1].user_cancel())
    assert world.seen() == [
        *["aborting j1", "aborting j2", "running j0", "aborting j0"],
        *["CANCELLED j2", "concluded j2"],
        *["CANCELLED j1", "concluded j1"],
        *["CANCELLED j0", "concluded j0"],
    ]
    world.run(world.jobs.cancel_all())
    assert world.seen() == ["null j2", "null j1", "null j0"]


def test_members_that_were_never_started(world: JobWorld) -> None:
    """A third action fails after two jobs were created: QEMU 10.0.2 hangs; all must end."""
    txn = JobTxn()
    jobs = [Copy(world, f"j{i}", txn=txn) for i in range(2)]
    world.run(jobs[1].cancel(force=True))
    world.run(jobs[0].cancel(force=True))
    assert world.seen()[2:] == [
        *["aborting j1", "concluded j1", "null j1"],
        *["aborting j0", "concluded j0", "null j0"],
    ]
    assert [job.log for job in jobs] == [["abort", "clean"]] * 2


def test_one_fails_at_the_last_moment(world: JobWorld) -> None:
    txn = JobTxn()
    jobs = [
        Copy(world, "j0", txn=txn),
        Copy(world, "j1", txn=txn, fail_prepare=True),
        Copy(world, "j2", txn=txn),
    ]
    _begin(world, jobs)
    assert world.seen()[12:] == [
        "aborting j1",
        *["aborting j2", "CANCELLED j2", "concluded j2", "null j2"],
        *["COMPLETED j1: No space left on device", "concluded j1", "null j1"],
        *["aborting j0", "CANCELLED j0", "concluded j0", "null j0"],
    ]
    assert [job.log for job in jobs] == [
        ["abort", "clean"],
        ["prepare", "abort", "clean"],
        ["prepare", "abort", "clean"],
    ]


def test_a_verb_waits_for_a_sweep_under_way(world: JobWorld) -> None:
    """Hooks may take time; a cancellation meanwhile comes too late."""

    class Slow(Copy):
        async def commit(self) -> None:
            await self.table.clock.sleep(NANOSECONDS)
            await super().commit()

    txn = JobTxn()
    jobs = [Slow(world, f"j{i}", txn=txn, auto_dismiss=False) for i in range(2)]
    for job in jobs:
        job.start()
    world.clock.advance(NANOSECONDS // 2)
    refused = []

    async def cancel(job: Copy) -> None:
        try:
            await job.user_cancel()
        except GenericError as error:
            refused.append(error.desc)

    for job in jobs:
        world.clock.spawn(cancel(job), "cancel")
    world.clock.advance(5 * NANOSECONDS)
    assert world.seen()[-4:] == ["COMPLETED j1", "concluded j1", "COMPLETED j0", "concluded j0"]
    assert refused == [
        f"Job 'j{i}' in state 'concluded' cannot accept command verb 'cancel'" for i in range(2)
    ]
    assert [job.log for job in jobs] == [["prepare", "commit", "clean"]] * 2


class AnyVerbs(RuleBasedStateMachine):
    """Whatever is asked of jobs, alone or grouped, faulty or not: all can be brought to an end."""

    @initialize()
    def begin(self) -> None:
        self.world = JobWorld()
        self.made: list[Copy] = []
        self.txn = JobTxn()
        self.drained = 0

    @rule(
        mirror=st.booleans(),
        grouped=st.booleans(),
        speed=st.sampled_from([0, 1, 1 << 17]),
        fault=st.none() | st.integers(0, 3),
        policy=st.sampled_from(OnError),
        fail_prepare=st.booleans(),
        auto_finalize=st.booleans(),
        auto_dismiss=st.booleans(),
        start=st.booleans(),
    )
    def create(
        self,
        mirror: bool,
        grouped: bool,
        fault: int | None,
        policy: OnError,
        start: bool,
        **more: Any,
    ) -> None:
        if any(job.txn is self.txn and job.status is not JobStatus.CREATED for job in self.made):
            self.txn = JobTxn()
        job = (Mirror if mirror else Copy)(
            self.world,
            f"j{len(self.made)}",
            txn=self.txn if grouped else None,
            failing={} if fault is None else {fault: 3},
            on_error=policy,
            **more,
        )
        self.made.append(job)
        if start and not grouped:
            job.start()

    @rule()
    def start_group(self) -> None:
        for job in reversed(self.made):
            if job.txn is self.txn and not job.started and job.status is JobStatus.CREATED:
                job.start()
        self.txn = JobTxn()

    @rule(
        data=st.data(),
        verb=st.sampled_from(["pause", "resume", "cancel", "complete", "finalize", "dismiss"]),
    )
    def verb(self, data: st.DataObject, verb: str) -> None:
        if not self.made:
            return
        job = data.draw(st.sampled_from(self.made))
        with suppress(QmpError):
            result = getattr(job, f"user_{verb}")()
            if result is not None:
                self.world.run(result)

    @rule(data=st.data(), speed=st.sampled_from([0, 1, 1 << 30]))
    def set_speed(self, data: st.DataObject, speed: int) -> None:
        if self.made:
            with suppress(QmpError):
                data.draw(st.sampled_from(self.made)).set_speed(speed)

    @rule(seconds=st.sampled_from([0, 0.05, 2, 10**5]))
    def wait(self, seconds: float) -> None:
        self.world.clock.advance(int(seconds * NANOSECONDS))

    @rule()
    def drain(self) -> None:
        self.world.run(drain_all(self.world.graph))

    @invariant()
    def is_consistent(self) -> None:
        for job in getattr(self, "made", []):
            listed = self.world.jobs.get(job.id) is job
            assert listed == (job.status is not JobStatus.NULL)
            assert job.log.count("commit") + job.log.count("abort") == job.log.count("clean") <= 1
            ended = job.status in (JobStatus.CONCLUDED, JobStatus.NULL)
            assert ended == (job.log[-1:] == ["clean"])
            assert ended or job in job.txn.jobs
            if job.status is JobStatus.PAUSED:
                assert job.pause_count > 0

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.run(self.world.jobs.cancel_all())
            self.is_consistent()
            assert not self.world.jobs.jobs


TestAnyVerbs = AnyVerbs.TestCase
TestAnyVerbs.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
