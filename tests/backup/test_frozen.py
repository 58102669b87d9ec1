"""Whatever verbs and faults come: no bitmap stays frozen without its job, and every job can end."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import qmpd
from qmpd.errors import GenericError, QmpError
from qmpd.loop.clock import NANOSECONDS
from tests.support.machines import TestMachine

CLUSTER = 65536
SIZE = 16 * CLUSTER
DISKS = ("p", "q")
VERBS = ("pause", "resume", "cancel", "complete", "finalize", "dismiss")

disks = st.sampled_from(DISKS)
policies = st.sampled_from(["report", "stop", "enospc", "auto"])
faults = st.lists(
    st.fixed_dictionaries(
        {
            "event": st.just("none"),
            "iotype": st.sampled_from(["read", "write"]),
            "errno": st.sampled_from([5, 28]),
            "sector": st.integers(0, SIZE // 512 - 1),
            "once": st.booleans(),
        }
    ),
    max_size=2,
)


class Frozen(RuleBasedStateMachine):
    """Two disks, each with a bitmap, and backups of them onto images that may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.world = TestMachine()
        self.targets = 0
        for disk in DISKS:
            self.add_file(disk, [])
            self.world.execute("block-dirty-bitmap-add", node=disk, name="b")

    def add_file(self, name: str, errors: list[Any]) -> None:
        path = f"/{name}"
        image = self.world.machine.services.storage.create(path)
        image.truncate(SIZE)
        image.close()
        file: dict[str, Any] = {"driver": "file", "filename": path}
        if errors:
            file = {"driver": "blkdebug", "image": file, "inject-error": errors}
        self.world.execute("blockdev-add", driver="raw", node_name=name, file=file)

    def attempt(self, command: str, **arguments: Any) -> None:
        """Run a command, which may fail."""
        with suppress(QmpError):
            self.world.execute(command, **arguments)

    def backup(self, disk: str, errors: list[Any], options: dict[str, Any]) -> dict[str, Any]:
        self.targets += 1
        target = f"t{self.targets}"
        self.add_file(target, errors)
        return {"job-id": disk, "device": disk, "target": target, "bitmap": "b", **options}

    options = st.fixed_dictionaries(
        {
            "sync": st.sampled_from(["incremental", "bitmap", "full"]),
            "bitmap-mode": st.sampled_from(["on-success", "always", "never"]),
            "speed": st.sampled_from([0, 1, CLUSTER]),
            "auto-finalize": st.booleans(),
            "auto-dismiss": st.booleans(),
            "on-target-error": policies,
            "on-source-error": policies,
        }
    )

    @rule(disk=disks, errors=faults, options=options)
    def back_up(self, disk: str, errors: list[Any], options: dict[str, Any]) -> None:
        arguments = self.backup(disk, errors, options)
        self.attempt("blockdev-backup", **arguments)

    @rule(errors=faults, options=st.tuples(options, options), grouped=st.booleans())
    def transaction(
        self, errors: list[Any], options: tuple[dict[str, Any], ...], grouped: bool
    ) -> None:
        actions = [
            {"type": "blockdev-backup", "data": self.backup(disk, errors[number:], chosen)}
            for number, (disk, chosen) in enumerate(zip(DISKS, options, strict=True))
        ]
        mode = "grouped" if grouped else "individual"
        self.attempt("transaction", actions=actions, properties={"completion-mode": mode})

    @rule(disk=disks, verb=st.sampled_from(VERBS))
    def verb(self, disk: str, verb: str) -> None:
        self.attempt(f"job-{verb}", id=disk)

    @rule(disk=disks, speed=st.sampled_from([0, 1, CLUSTER]))
    def set_speed(self, disk: str, speed: int) -> None:
        self.attempt("block-job-set-speed", device=disk, speed=speed)

    @rule(disk=disks, cluster=st.integers(0, 15))
    def write(self, disk: str, cluster: int) -> None:
        self.world.hmp(f'qemu-io {disk} "write -q {cluster * CLUSTER} 64k"')

    @rule(disk=disks)
    def remove(self, disk: str) -> None:
        self.attempt("block-dirty-bitmap-remove", node=disk, name="b")
        self.attempt("block-dirty-bitmap-add", node=disk, name="b")

    @rule(seconds=st.integers(0, 5))
    def wait(self, seconds: int) -> None:
        self.world.clock.advance(seconds * NANOSECONDS)

    @invariant()
    def a_frozen_bitmap_has_its_job(self) -> None:
        at_work = {
            job["id"] for job in self.world.execute("query-jobs") if job["status"] != "concluded"
        }
        for disk in DISKS:
            node = self.world.machine.graph.find_node(disk)
            assert node is not None
            [bitmap] = [b for b in node.bitmaps if b.name == "b"]
            if bitmap.busy or bitmap.successor is not None:
                assert disk in at_work
            else:
                assert len(node.bitmaps) == 1 or disk in at_work

    def teardown(self) -> None:
        for disk in DISKS:
            self.attempt("job-cancel", id=disk)
            self.world.clock.advance(NANOSECONDS)
            self.attempt("job-dismiss", id=disk)
        assert self.world.execute("query-jobs") == []
        self.a_frozen_bitmap_has_its_job()
        self.world.clock.run(self.world.machine.close())


TestFrozen = Frozen.TestCase
TestFrozen.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_a_bitmap_that_is_handed_over_goes_with_the_transaction_that_made_it() -> None:
    """As in QEMU 7.2; 10.0 and 11.1 die of it."""
    backup = {"job-id": "j", "device": "d", "target": "t", "sync": "bitmap", "bitmap": "b"}
    actions = [
        {"type": "block-dirty-bitmap-add", "data": {"node": "d", "name": "b"}},
        {"type": "blockdev-backup", "data": {**backup, "bitmap-mode": "always"}},
        {"type": "abort", "data": {}},
    ]
    with qmpd.Machine(disks={"d": "1M", "t": "1M"}) as vm:
        with pytest.raises(GenericError, match="Transaction aborted using Abort action"):
            vm.cmd("transaction", actions=actions)
        assert "dirty-bitmaps" not in vm.nodes["d"]
