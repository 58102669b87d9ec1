"""Whatever verbs and faults come: every mirror, commit and stream can end, and leaves nothing."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import qmpd
from qmpd.block.model.blockers import Op
from qmpd.errors import GenericError, QmpError
from qmpd.loop.clock import NANOSECONDS
from tests.support.machines import TestMachine

CLUSTER = 65536
SIZE = 16 * CLUSTER
LAYERS = ("base", "mid", "top")
SLOTS = ("p", "q")
FILTERS = {"mirror_top", "commit_top", "copy-on-read"}
STARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "mirror": ("blockdev-mirror", {"target": "target", "sync": "full"}),
    "mirror of the top": ("blockdev-mirror", {"target": "target", "sync": "top"}),
    "mirror that blocks": (
        "blockdev-mirror",
        {"target": "target", "sync": "full", "copy-mode": "write-blocking"},
    ),
    "commit of the top": ("block-commit", {}),
    "commit": ("block-commit", {"top-node": "mid", "base-node": "base"}),
    "stream": ("block-stream", {}),
    "stream down to base": ("block-stream", {"base-node": "base"}),
}
"""Commands by what they do; nodes are named as in a chain."""

VERBS = ("pause", "resume", "cancel", "complete", "finalize", "dismiss")

clusters = st.integers(0, 15)
faults = st.lists(
    st.fixed_dictionaries(
        {
            "event": st.just("none"),
            "iotype": st.sampled_from(["read", "write", "flush"]),
            "errno": st.sampled_from([5, 28]),
            "sector": st.integers(CLUSTER // 512, 20 * CLUSTER // 512),
            "once": st.booleans(),
        }
    ),
    max_size=2,
)


@cache
def image_bytes() -> bytes:
    """A qcow2 image with every other cluster full of data."""
    box = TestMachine()
    file = {"driver": "file", "filename": "/image"}
    for options in ({**file, "size": 0}, {"driver": "qcow2", "file": file, "size": SIZE}):
        box.execute("blockdev-create", job_id="create", options=options)
        box.execute("job-dismiss", id="create")
    box.execute("blockdev-add", driver="qcow2", node_name="image", file=file)
    for cluster in range(0, 16, 2):
        box.hmp(f'qemu-io image "write -q {cluster * CLUSTER} 64k"')
    box.execute("blockdev-del", node_name="image")
    image = box.machine.services.storage.open("/image")
    data = image.pread(0, image.length())
    image.close()
    return data


class Chain:
    """Three images, one on top of the other, and a target; any of them may fail.

    :param name: what the names of its nodes begin with
    """

    def __init__(self, world: TestMachine, name: str, errors: list[list[Any]]) -> None:
        self.world = world
        self.name = name
        backing: Any = None
        for layer, rules in zip(LAYERS, errors, strict=False):
            backing = {
                "driver": "qcow2",
                "node-name": f"{name}-{layer}",
                "file": self._file(layer, image_bytes(), rules),
                "backing": backing,
            }
        world.execute("blockdev-add", **backing)
        file = self._file("target", bytes(SIZE), errors[-1])
        world.execute("blockdev-add", driver="raw", node_name=f"{name}-target", file=file)

    def _file(self, layer: str, data: bytes, errors: list[Any]) -> dict[str, Any]:
        path = f"/{self.name}-{layer}"
        image = self.world.machine.services.storage.create(path)
        image.pwrite(0, data)
        image.close()
        file: dict[str, Any] = {"driver": "file", "filename": path}
        return {"driver": "blkdebug", "image": file, "inject-error": errors} if errors else file

    def start(self, job: str, start: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The command that starts a job on it, and its arguments."""
        command, where = STARTS[start]
        arguments = {"job-id": job, "device": f"{self.name}-top", **options}
        if "mirror" not in command:
            error = arguments.pop("on-target-error")
            arguments["on-error"] = arguments.pop("on-source-error", error)
        names = ("target", "top-node", "base-node")
        arguments |= {n: f"{self.name}-{v}" if n in names else v for n, v in where.items()}
        return command, arguments


def nothing_is_left(world: TestMachine) -> None:
    """Fail if a job that has ended has left a filter, a blocker, a section or a frozen link."""
    for node in world.machine.graph.nodes():
        assert node.driver.format_name not in FILTERS, node.node_name
        for operation in Op:
            try:
                node.blockers.check(operation, node.node_name)
            except GenericError as error:
                assert "job" not in error.desc  # noqa: PT017
        assert node.quiesce_counter == 0, node.node_name
        assert not any(edge.frozen for edge in node.parents), node.node_name


which = st.integers(0, 1)
"""One of the jobs there are."""


def jobs_exist(ends: Ends) -> bool:
    """Whether there are jobs at all."""
    return bool(ends.jobs)


class Ends(RuleBasedStateMachine):
    """Two jobs at a time, each on a chain of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.world = TestMachine()
        self.chains = 0
        self.tops: dict[str, str] = {}

    def attempt(self, command: str, **arguments: Any) -> None:
        """Run a command, which may fail."""
        with suppress(QmpError):
            self.world.execute(command, **arguments)

    @property
    def jobs(self) -> list[str]:
        """The ids of the jobs there are."""
        return [job.id for job in self.world.machine.jobs.jobs.oldest_first()]

    @precondition(lambda self: len(self.jobs) < len(SLOTS))
    @rule(
        start=st.sampled_from(sorted(STARTS)),
        errors=st.tuples(*[faults] * 4),
        options=st.fixed_dictionaries(
            {
                "speed": st.sampled_from([0, 1, CLUSTER]),
                "auto-finalize": st.booleans(),
                "auto-dismiss": st.booleans(),
                # not "ignore": a mirror tries again and again then, and time stands still here
                "on-target-error": st.sampled_from(["report", "stop", "enospc"]),
                "on-source-error": st.sampled_from(["report", "stop", "enospc"]),
            }
        ),
    )
    def start(self, start: str, errors: Any, options: dict[str, Any]) -> None:
        slot = next(slot for slot in SLOTS if slot not in self.jobs)
        self.chains += 1
        with suppress(QmpError):
            chain = Chain(self.world, f"c{self.chains}", list(errors))
            command, arguments = chain.start(slot, start, options)
            self.world.execute(command, **arguments)
            self.tops[slot] = f"{chain.name}-top"

    @precondition(jobs_exist)
    @rule(which=which, verb=st.sampled_from(VERBS))
    def verb(self, which: int, verb: str) -> None:
        self.attempt(f"job-{verb}", id=self.jobs[which % len(self.jobs)])

    @precondition(jobs_exist)
    @rule(which=which, force=st.booleans())
    def cancel(self, which: int, force: bool) -> None:
        self.attempt("block-job-cancel", device=self.jobs[which % len(self.jobs)], force=force)

    @precondition(jobs_exist)
    @rule(which=which, speed=st.sampled_from([0, 1, CLUSTER]))
    def set_speed(self, which: int, speed: int) -> None:
        self.attempt("block-job-set-speed", device=self.jobs[which % len(self.jobs)], speed=speed)

    @rule(slot=st.sampled_from(SLOTS), cluster=clusters)
    def write(self, slot: str, cluster: int) -> None:
        pending = {"id": slot, "status": "pending"}
        if any(pending.items() <= job.items() for job in self.world.execute("query-jobs")):
            # A mirror that is not finalized yet keeps guests from writing, as QEMU's does.
            return
        if slot in self.tops:
            self.world.hmp(f'qemu-io {self.tops[slot]} "write -q {cluster * CLUSTER} 64k"')

    @rule(slot=st.sampled_from(SLOTS))
    def snapshot(self, slot: str) -> None:
        """The graph changes below or above a job, in a drained section."""
        if slot in self.tops:
            new: dict[str, Any] = {"driver": "qcow2", "backing": None}
            self.chains += 1
            path = f"/c{self.chains}-overlay"
            image = self.world.machine.services.storage.create(path)
            image.pwrite(0, image_bytes())
            image.close()
            new |= {"node-name": path[1:], "file": {"driver": "file", "filename": path}}
            self.attempt("blockdev-add", **new)
            self.attempt("blockdev-snapshot", node=self.tops[slot], overlay=path[1:])

    @rule(seconds=st.integers(0, 5))
    def wait(self, seconds: int) -> None:
        self.world.clock.advance(seconds * NANOSECONDS)

    @invariant()
    def only_jobs_hold_things(self) -> None:
        if not self.world.machine.jobs.jobs:
            self.world.clock.settle()
            nothing_is_left(self.world)

    def teardown(self) -> None:
        for slot in SLOTS:
            self.attempt("job-cancel", id=slot)
            self.world.clock.advance(NANOSECONDS)
            self.attempt("job-dismiss", id=slot)
        assert self.world.execute("query-jobs") == []
        nothing_is_left(self.world)
        self.world.clock.run(self.world.machine.close())
        assert list(self.world.machine.graph.nodes()) == []


TestEnds = Ends.TestCase
TestEnds.settings = settings(
    max_examples=100,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("start", STARTS)
def test_the_machine_ends_at_any_moment(start: str) -> None:
    """A request that has begun goes on in a drained section, or its end is waited for in vain."""
    for steps in range(40):
        world = TestMachine()
        chain = Chain(world, "c", [[]] * 4)
        command, arguments = chain.start("j", start, {"on-target-error": "report"})
        clock = world.clock
        clock.enter(world.vm._core.qmp(command, arguments), command, lambda task: None)
        for _ in range(steps):
            if clock.step():
                continue
            due = clock.next_due()
            if due is None:
                break
            clock.advance(due - clock.now())
        clock.run(world.machine.close())
        assert world.machine.jobs.jobs == []
        assert list(world.machine.graph.nodes()) == []


def test_a_stream_that_has_ended_and_is_still_there_is_no_trouble_for_queries() -> None:
    """Its filter has no child any more; QEMU 10.0 dies of such a query."""
    with qmpd.Machine() as vm:
        vm.cmd("blockdev-add", driver="null-co", node_name="below", size=SIZE)
        vm.cmd("blockdev-add", driver="raw", node_name="top", file="below")
        vm.cmd("block-stream", device="top", job_id="j", auto_dismiss=False)
        assert vm.job("j").status == "concluded"
        named = {node["drv"]: node for node in vm.cmd("query-named-block-nodes")}
        assert "actual-size" not in named["copy-on-read"]["image"]
        assert len(vm.cmd("x-debug-query-block-graph")["edges"]) == 3
        assert len(vm.cmd("query-blockstats", query_nodes=True)) == 3
        vm.cmd("job-dismiss", id="j")
        assert len(vm.cmd("query-named-block-nodes")) == 2
