"""Transactions, through each door: all of it happens, or none."""

from __future__ import annotations

from typing import Any

import pytest

from qmpd.errors import GenericError
from tests.doors.conftest import Disks, Door


def action(kind: str, **data: Any) -> dict[str, Any]:
    """An action, its members written with underscores."""
    return {"type": kind, "data": {name.replace("_", "-"): value for name, value in data.items()}}


def names(vm: Door) -> list[str]:
    """The bitmaps of node d."""
    return [info["name"] for info in vm.nodes["d"].get("dirty-bitmaps", [])]


def test_all_of_it(vm: Door, disks: Disks) -> None:
    disks.add("d")
    vm.cmd("block-dirty-bitmap-add", node="d", name="old")
    disks.write("d", 0, 512)
    actions = [
        action("block-dirty-bitmap-add", node="d", name="new"),
        action("block-dirty-bitmap-disable", node="d", name="old"),
    ]
    assert vm.cmd("transaction", actions=actions) == {}
    disks.write("d", 1 << 19, 512)
    counts = {info["name"]: info["count"] for info in vm.nodes["d"]["dirty-bitmaps"]}
    assert counts == {"old": 65536, "new": 65536}


def test_or_none(vm: Door, disks: Disks) -> None:
    disks.add("d")
    vm.cmd("block-dirty-bitmap-add", node="d", name="old")
    disks.write("d", 0, 512)
    before = vm.nodes["d"]["dirty-bitmaps"]
    actions = [
        action("block-dirty-bitmap-add", node="d", name="new"),
        action("block-dirty-bitmap-clear", node="d", name="old"),
        action("block-dirty-bitmap-remove", node="d", name="nope"),
    ]
    with pytest.raises(GenericError, match="Dirty bitmap 'nope' not found"):
        vm.cmd("transaction", actions=actions)
    assert vm.nodes["d"]["dirty-bitmaps"] == before
    assert names(vm) == ["old"]


def test_a_backup_and_its_bitmap_begin_at_one_moment(vm: Door, disks: Disks) -> None:
    disks.add("d")
    disks.add("t")
    actions = [
        action("block-dirty-bitmap-add", node="d", name="b"),
        action("blockdev-backup", job_id="j", device="d", target="t", sync="full"),
    ]
    vm.cmd("transaction", actions=actions)
    assert vm.job("j").wait() == "null"
    assert names(vm) == ["b"]


def test_jobs_that_end_together(vm: Door, disks: Disks) -> None:
    disks.add("d")
    disks.add("e")
    disks.add("t")
    inject = {"event": "none", "errno": 5, "iotype": "write"}
    null = {"driver": "null-co", "size": 1 << 20}
    vm.cmd(
        "blockdev-add",
        {"driver": "blkdebug", "node-name": "bad", "image": null, "inject-error": [inject]},
    )
    disks.write("d", 0, 512)
    disks.write("e", 0, 512)
    actions = [
        action("blockdev-backup", job_id="good", device="d", target="t", sync="full"),
        action("blockdev-backup", job_id="poor", device="e", target="bad", sync="full"),
    ]
    vm.cmd("transaction", actions=actions, properties={"completion-mode": "grouped"})
    assert vm.job("good").wait() == "null"
    assert vm.job("poor").wait() == "null"
    assert vm.job("poor").error == "Input/output error"
    cancelled = vm.event_wait("BLOCK_JOB_CANCELLED")
    assert cancelled is not None
    assert cancelled["data"]["device"] == "good"


def test_a_snapshot_that_cannot_be_is_undone_with_the_rest(vm: Door, disks: Disks) -> None:
    disks.add("d", driver="qcow2")
    vm.cmd("blockdev-add", driver="null-co", node_name="over", size=1 << 20)
    actions = [
        action("block-dirty-bitmap-add", node="d", name="b"),
        action("blockdev-snapshot", node="d", overlay="over"),
    ]
    with pytest.raises(GenericError, match="The overlay does not support backing images"):
        vm.cmd("transaction", actions=actions)
    assert names(vm) == []
    with pytest.raises(GenericError, match="Transaction"):
        vm.cmd(
            "transaction",
            actions=[action("abort")],
            properties={"completion-mode": "individual"},
        )
