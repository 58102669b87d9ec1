"""Jobs from creation to dismissal: events in QEMU's order, verbs, errors, queries."""

from __future__ import annotations

import errno

import pytest

from qmpd.block.change.drain import drain_all, drain_all_begin, drain_all_end
from qmpd.errors import DeviceNotActive, GenericError, QmpError
from qmpd.jobs.core.states import ERROR_ACTIONS, JobStatus, OnError
from qmpd.loop.clock import NANOSECONDS
from tests.jobs.fake import CHUNK, Copy, JobWorld, Mirror


@pytest.fixture
def world() -> JobWorld:
    return JobWorld()


def _pass(world: JobWorld, seconds: float) -> list[str]:
    world.clock.advance(int(seconds * NANOSECONDS))
    return world.seen()


BEGIN = ["created j", "running j"]
END = ["waiting j", "pending j", "COMPLETED j", "concluded j", "null j"]
CANCELLED = ["aborting j", "CANCELLED j", "concluded j", "null j"]


def test_success(world: JobWorld) -> None:
    job = Copy(world)
    job.start()
    assert world.seen() == BEGIN
    assert _pass(world, 0) == END
    assert job.log == ["prepare", "commit", "clean"]
    assert not world.jobs.jobs
    assert job.status is JobStatus.NULL


def test_payloads_in_schema_order(world: JobWorld) -> None:
    job = Mirror(world, auto_finalize=False, failing={1: 1}, on_error=OnError.IGNORE)
    world.events.clear()
    job.start()
    world.clock.advance(0)
    world.run(job.user_complete())
    world.clock.settle()
    world.run(job.user_finalize())
    told = {name: data for name, data in world.events if name.startswith("BLOCK_JOB")}
    progress = {
        "type": "mirror",
        "device": "j",
        "len": 4 * CHUNK,
        "offset": 4 * CHUNK,
        "speed": 0,
    }
    expected: dict[str, dict[str, object]] = {
        "BLOCK_JOB_ERROR": {"device": "j", "operation": "write", "action": "ignore"},
        "BLOCK_JOB_READY": progress,
        "BLOCK_JOB_PENDING": {"type": "mirror", "id": "j"},
        "BLOCK_JOB_COMPLETED": progress,
    }
    assert told == expected
    for name, data in told.items():
        assert data is not None
        assert list(data) == list(expected[name])


def test_manual_finalize_and_dismiss(world: JobWorld) -> None:
    job = Copy(world, auto_finalize=False, auto_dismiss=False)
    job.start()
    assert _pass(world, 0) == [*BEGIN, "waiting j", "pending j", "PENDING j"]
    assert job.log == []
    world.run(job.user_finalize())
    assert world.seen() == ["COMPLETED j", "concluded j"]
    assert world.jobs.query_jobs() == [
        {
            "id": "j",
            "type": "backup",
            "status": "concluded",
            "current-progress": 4 * CHUNK,
            "total-progress": 4 * CHUNK,
        }
    ]
    with pytest.raises(GenericError, match="Job ID 'j' already in use"):
        Copy(world)
    world.run(job.user_dismiss())
    assert world.seen() == ["null j"]
    assert world.jobs.query_jobs() == []


def test_failure(world: JobWorld) -> None:
    job = Copy(world, failing={2: 1}, auto_dismiss=False)
    job.start()
    assert _pass(world, 0) == [
        *BEGIN,
        "ERROR j: write report",
        "aborting j",
        "COMPLETED j: Input/output error",
        "concluded j",
    ]
    assert job.log == ["abort", "clean"]
    [info] = world.jobs.query_jobs()
    assert info["error"] == "Input/output error"
    assert info["current-progress"] == 2 * CHUNK


def test_failure_at_the_last_moment(world: JobWorld) -> None:
    job = Copy(world, fail_prepare=True)
    job.start()
    assert _pass(world, 0) == [
        *BEGIN,
        "waiting j",
        "pending j",
        "aborting j",
        "COMPLETED j: No space left on device",
        "concluded j",
        "null j",
    ]
    assert job.log == ["prepare", "abort", "clean"]


def test_a_defect_of_the_work_fails_the_job_and_is_seen(world: JobWorld) -> None:
    class Broken(Copy):
        async def run(self) -> None:
            raise ZeroDivisionError

    job = Broken(world)
    with pytest.raises(ZeroDivisionError):
        job.start()
    assert world.settled()[2:] == [
        "aborting j",
        "COMPLETED j: Input/output error",
        "concluded j",
        "null j",
    ]


def test_cancel_of_a_sleeping_job_is_through_before_the_answer(world: JobWorld) -> None:
    job = Copy(world, speed=1, auto_dismiss=False)
    job.start()
    _pass(world, 1)
    assert job.sleeping
    world.run(job.user_cancel())
    assert world.seen() == ["aborting j", "CANCELLED j", "concluded j"]
    [info] = world.jobs.query_block_jobs()
    assert (info["error"], info["offset"], info["busy"]) == ("Operation canceled", CHUNK, False)


def test_cancel_while_paused(world: JobWorld) -> None:
    job = Copy(world, speed=1)
    job.start()
    world.run(job.user_pause())
    _pass(world, 1)
    with pytest.raises(GenericError) as caught:
        world.run(world.jobs.block_job_cancel("j"))
    assert caught.value.desc == "The block job for device 'j' is currently paused"
    world.run(world.jobs.block_job_cancel("j", force=True))
    assert world.seen() == ["running j", *CANCELLED]


def test_cancel_before_start(world: JobWorld) -> None:
    """As in an aborted transaction: no BLOCK_JOB event, never dismissed by hand."""
    job = Copy(world, auto_dismiss=False)
    world.run(job.cancel(force=True))
    assert world.seen() == ["created j", "aborting j", "concluded j", "null j"]
    assert job.log == ["abort", "clean"]
    world.run(job.cancel(force=True))
    assert world.seen() == []


def test_cancel_in_pending(world: JobWorld) -> None:
    job = Copy(world, auto_finalize=False)
    job.start()
    _pass(world, 0)
    world.run(job.user_cancel())
    assert world.seen() == CANCELLED
    assert job.log == ["abort", "clean"]


def test_pause_and_resume(world: JobWorld) -> None:
    job = Copy(world, speed=1)
    job.start()
    _pass(world, 1)
    world.run(job.user_pause())
    assert world.seen() == ["paused j"]
    assert job.block_info()["paused"]
    with pytest.raises(GenericError, match=r"^Job is already paused$"):
        world.run(job.user_pause())
    assert _pass(world, 10) == []
    world.run(job.user_resume())
    assert world.seen() == ["running j"]
    with pytest.raises(GenericError, match=r"^Can't resume a job that was not paused$"):
        world.run(job.user_resume())
    # The sleep was cut short, but the limit still counts.
    _pass(world, 1)
    assert job.progress.current == CHUNK


def test_pause_before_start_holds_at_the_first_pause_point(world: JobWorld) -> None:
    """As for jobs that are started while their nodes are drained."""
    job = Copy(world)
    job.pause()
    job.start()
    assert world.seen() == ["created j", "running j", "paused j"]
    assert _pass(world, 5) == []
    job.resume()
    assert _pass(world, 0) == ["running j", *END]


def test_speed(world: JobWorld) -> None:
    job = Copy(world, chunks=1000, speed=CHUNK)
    job.start()
    _pass(world, 0.05)
    assert job.progress.current == CHUNK
    _pass(world, 10)
    assert job.progress.current == pytest.approx(11 * CHUNK, abs=CHUNK)
    with pytest.raises(GenericError, match=r"^Parameter 'speed' expects a non-negative value$"):
        job.set_speed(-1)
    job.set_speed(0)
    assert _pass(world, 0) == END


def test_negative_speed_at_creation(world: JobWorld) -> None:
    with pytest.raises(GenericError, match=r"^Parameter 'speed' expects a non-negative value$"):
        Copy(world, speed=-1)
    assert world.seen() == ["created j", "null j"]
    assert not world.jobs.jobs


def test_raising_the_speed_wakes_a_sleeper_and_lowering_does_not(world: JobWorld) -> None:
    job = Copy(world, chunks=3, speed=1)
    job.start()
    _pass(world, 1)
    job.set_speed(1)
    assert job.progress.current == CHUNK
    job.set_speed(1 << 40)
    assert _pass(world, 1) == END


def test_mirror(world: JobWorld) -> None:
    job = Mirror(world)
    job.start()
    assert _pass(world, 0) == [*BEGIN, "ready j", "READY j"]
    assert job.block_info()["ready"]
    assert list(job.block_info())[-1] == "actively-synced"
    world.run(job.user_pause())
    assert world.seen() == ["standby j"]
    assert job.block_info()["ready"]
    world.run(job.user_resume())
    assert world.seen() == ["ready j"]
    world.run(job.change("x"))
    world.run(job.user_complete())
    assert _pass(world, 0) == END


def test_complete_in_standby_waits_for_resume(world: JobWorld) -> None:
    job = Mirror(world)
    job.start()
    _pass(world, 0)
    world.run(job.user_pause())
    world.run(job.user_complete())
    assert _pass(world, 9) == ["standby j"]
    world.run(job.user_resume())
    assert _pass(world, 0) == ["ready j", *END]


@pytest.mark.parametrize(
    ("force", "early", "ending"),
    [(False, False, END), (True, False, CANCELLED), (False, True, CANCELLED)],
)
def test_soft_cancel_of_a_ready_mirror_is_a_success(
    world: JobWorld, force: bool, early: bool, ending: list[str]
) -> None:
    job = Mirror(world, speed=1 if early else 0)
    job.start()
    _pass(world, 0)
    world.run(job.user_cancel(force=force))
    assert world.settled() == ending


def test_completing_what_cannot_be_completed(world: JobWorld) -> None:
    job = Copy(world)
    job.start()
    job.status = JobStatus.READY
    with pytest.raises(GenericError) as caught:
        world.run(job.user_complete())
    assert caught.value.desc == "The active block job 'j' cannot be completed"


def test_change_is_refused_after_the_state_is_looked_at(world: JobWorld) -> None:
    job = Copy(world, auto_finalize=False)
    with pytest.raises(GenericError, match=r"^Job type does not support change$"):
        world.run(job.change(None))
    job.start()
    _pass(world, 0)
    with pytest.raises(GenericError) as caught:
        world.run(job.change(None))
    assert caught.value.desc == "Job 'j' in state 'pending' cannot accept command verb 'change'"


def test_lookups(world: JobWorld) -> None:
    with pytest.raises(GenericError, match=r"^Job not found$"):
        world.jobs.find("j")
    with pytest.raises(DeviceNotActive, match=r"^Block job 'j' not found$"):
        world.jobs.find_block_job("j")
    job = Copy(world)
    assert world.jobs.find("j") is job
    assert world.jobs.find_block_job("j") is job


POLICIES = {
    # policy: (action on EIO, action on ENOSPC), jobs.md section 7
    "report": ("report", "report"),
    "ignore": ("ignore", "ignore"),
    "stop": ("stop", "stop"),
    "enospc": ("report", "stop"),
    "auto": ("report", "stop"),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_error_policies(world: JobWorld, policy: str, error: int) -> None:
    assert set(POLICIES) == {policy.value for policy in ERROR_ACTIONS}
    action = POLICIES[policy][error == errno.ENOSPC]
    job = Copy(world, failing={1: 2}, error=error, on_error=OnError(policy))
    job.start()
    events = _pass(world, 0)
    told = f"ERROR j: write {action}"
    if action == "report":
        strerror = "Input/output error" if error == errno.EIO else "No space left on device"
        text = f"COMPLETED j: {strerror}"
        assert events == [*BEGIN, told, "aborting j", text, "concluded j", "null j"]
        return
    if action == "ignore":
        assert events == [*BEGIN, told, *END]
        return
    assert events == [*BEGIN, told, "paused j"]
    status = "failed" if error == errno.EIO else "nospace"
    info = job.block_info()
    assert (info["io-status"], info["paused"], info["status"]) == (status, True, "paused")
    world.run(job.user_resume())
    assert _pass(world, 0) == ["running j", told, "paused j"]
    world.run(job.user_resume())
    assert _pass(world, 0) == ["running j", *END]


def test_query_block_jobs(world: JobWorld) -> None:
    Copy(world, "a").start()
    job = Copy(world, "b", speed=7, auto_dismiss=False)
    job.start()
    newest, oldest = world.jobs.query_block_jobs()
    assert (newest["device"], oldest["device"]) == ("b", "a")
    assert newest == {
        "type": "backup",
        "device": "b",
        "len": 4 * CHUNK,
        "offset": 0,
        "busy": False,
        "paused": False,
        "speed": 7,
        "io-status": "ok",
        "ready": False,
        "status": "running",
        "auto-finalize": True,
        "auto-dismiss": False,
    }
    assert [job["id"] for job in world.jobs.query_jobs()] == ["b", "a"]


def test_drains_pause_and_resume_every_block_job(world: JobWorld) -> None:
    sleeping, paused = Copy(world, "a", speed=1), Copy(world, "b", speed=1)
    sleeping.start()
    paused.start()
    _pass(world, 1)
    world.run(paused.user_pause())
    assert world.seen() == ["paused b"]
    world.run(drain_all(world.graph))
    assert world.seen() == ["paused a", "running a"]
    world.run(drain_all_begin(world.graph))
    late = Copy(world, "c")
    drain_all_end(world.graph)
    assert late.pause_count == 1
    assert world.seen() == ["paused a", "created c", "running a"]


def test_a_drain_waits_for_a_job_at_work(world: JobWorld) -> None:
    class Busy(Copy):
        async def run(self) -> None:
            for _ in range(3):
                await self.table.clock.sleep(NANOSECONDS)
                await self.pause_point()

    job = Busy(world)
    job.start()
    before = world.clock.now()
    world.run(drain_all(world.graph))
    assert world.clock.now() == before + NANOSECONDS
    assert world.seen() == [*BEGIN, "paused j", "running j"]
    assert _pass(world, 2) == END


def test_cancel_all_goes_from_the_newest_to_the_oldest(world: JobWorld) -> None:
    """As recorded from QEMU's quit: each ends, concluded ones are only forgotten."""
    Copy(world, "a", speed=1, auto_dismiss=False).start()
    Copy(world, "b", auto_dismiss=False).start()
    Mirror(world, "c").start()
    _pass(world, 1)
    world.run(world.jobs.cancel_all())
    assert world.seen() == [
        # one that ends has the others pause for a moment, and once more when it is forgotten
        *["aborting c", "paused a", "running a", "CANCELLED c", "concluded c", "null c"],
        *["paused a", "running a", "null b", "paused a", "running a"],
        *["aborting a", "CANCELLED a", "concluded a", "null a"],
    ]


def test_errors_of_verbs_change_nothing(world: JobWorld) -> None:
    job = Copy(world, speed=1)
    job.start()
    world.seen()
    before = dict(vars(job))
    with pytest.raises(QmpError):
        job.set_speed(-5)
    awaited = (
        *(job.user_dismiss, job.user_resume, job.user_complete, job.user_finalize),
        lambda: job.change(None),
    )
    for coroutine in [verb() for verb in awaited]:
        with pytest.raises(QmpError):
            world.run(coroutine)
    assert dict(vars(job)) == before
    assert world.seen() == []
