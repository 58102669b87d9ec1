"""blockdev-create as a job: what is refused at once, what fails later, when events come."""

from __future__ import annotations

from typing import Any

import pytest

from qmpd.block.change.blockdev import blockdev_add
from qmpd.errors import DeviceNotActive, GenericError
from qmpd.jobs.image.create import CreateJob
from qmpd.loop.task import Waiter
from tests.jobs.fake import JobWorld


@pytest.fixture
def world() -> JobWorld:
    return JobWorld()


def _create(world: JobWorld, options: dict[str, Any], job_id: str = "j") -> list[str]:
    """The events before the command's answer."""

    async def command() -> list[str]:
        job = CreateJob(world.jobs, job_id, world.graph, options)
        job.start()
        # the round of the main loop that passes before the command is answered
        answered = Waiter(direct=True)
        world.clock.call_in_monitor(answered.wake)
        await answered
        return world.seen()

    events: list[str] = world.clock.run(command())
    return events


@pytest.mark.parametrize("job_id", ["j", "9j"])
def test_a_driver_that_cannot_is_refused_first(world: JobWorld, job_id: str) -> None:
    with pytest.raises(GenericError, match=r"^Driver does not support blockdev-create$"):
        _create(world, {"driver": "null-co"}, job_id)
    assert world.seen() == []


def test_success_comes_after_the_answer(world: JobWorld) -> None:
    options = {"driver": "file", "filename": "/img", "size": 1 << 20}
    assert _create(world, options) == ["created j", "running j"]
    assert world.settled() == ["waiting j", "pending j", "concluded j"]
    assert world.jobs.query_jobs() == [
        {
            "id": "j",
            "type": "create",
            "status": "concluded",
            "current-progress": 1,
            "total-progress": 1,
        }
    ]
    assert world.jobs.query_block_jobs() == []
    node = world.run(
        blockdev_add(world.graph, {"driver": "file", "node-name": "f", "filename": "/img"})
    )
    assert node.length == 1 << 20


def test_it_stays_until_it_is_dismissed(world: JobWorld) -> None:
    options = {"driver": "file", "filename": "/img", "size": 512}
    _create(world, options)
    world.settled()
    with pytest.raises(GenericError, match=r"^Job ID 'j' already in use$"):
        _create(world, options)
    with pytest.raises(DeviceNotActive, match=r"^Block job 'j' not found$"):
        world.jobs.find_block_job("j")
    world.run(world.jobs.find("j").user_dismiss())
    assert world.seen() == ["null j"]


def test_a_format_driver_fails_after_the_answer(world: JobWorld) -> None:
    """Recorded from QEMU 10.0.2 (session wire-arguments); the error is in query-jobs alone."""
    world.blockdev("target", 1 << 20)
    options = {"driver": "qcow2", "file": "target", "size": 513}
    assert _create(world, options) == ["created j", "running j"]
    assert world.settled() == ["aborting j", "concluded j"]
    [info] = world.jobs.query_jobs()
    assert info["error"] == "Image size must be a multiple of 512 bytes"
    assert (info["current-progress"], info["total-progress"]) == (1, 1)


def test_an_unknown_file_node(world: JobWorld) -> None:
    _create(world, {"driver": "qcow2", "file": "nope", "size": 512})
    assert world.settled() == ["aborting j", "concluded j"]
    [info] = world.jobs.query_jobs()
    assert info["error"] == "Cannot find device='nope' nor node-name='nope'"


def test_cancel_all_forgets_it(world: JobWorld) -> None:
    _create(world, {"driver": "qcow2", "file": "nope", "size": 512})
    world.settled()
    world.run(world.jobs.cancel_all())
    assert world.seen() == ["null j"]
