"""Chains as long as they may be, and longer: what would be too deep is refused in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import qmpd

TOO_DEEP = "qmpd does not serve chains of more than 200 nodes"


@pytest.fixture
def vm() -> Iterator[qmpd.Machine]:
    with qmpd.Machine(disks={"disk0": "1M", "target": "1M"}) as machine:
        machine.cmd("object-add", qom_type="throttle-group", id="tg")
        machine.cmd("object-add", qom_type="iothread", id="io")
        yield machine


def add_raw(vm: qmpd.Machine, name: str, below: str) -> Any:
    return vm.qmp("blockdev-add", driver="raw", node_name=name, file=below)


def add_throttle(vm: qmpd.Machine, name: str, below: str) -> Any:
    options = {"driver": "throttle", "throttle-group": "tg", "node-name": name, "file": below}
    return vm.qmp("blockdev-add", options)


def add_snapshot(vm: qmpd.Machine, name: str, below: str) -> Any:
    options = {"node-name": below, "snapshot-node-name": name, "snapshot-file": name}
    return vm.qmp("blockdev-snapshot-sync", options)


@pytest.mark.parametrize("add", [add_raw, add_throttle, add_snapshot])
def test_what_can_be_done_with_the_longest(vm: qmpd.Machine, add: Any) -> None:
    top = "disk0"
    refused: Any = None
    for number in range(202):
        answer = add(vm, f"n{number}", top)
        if "error" in answer:
            refused = answer["error"]
            break
        top = f"n{number}"
    assert refused == {"class": "GenericError", "desc": TOO_DEEP}
    # nothing is left of what was refused
    assert add(vm, "again", top)["error"]["desc"] == TOO_DEEP
    for line in ("write -P 3 0 64k", "read -P 3 0 64k", "flush", "discard 0 64k", "map"):
        assert vm.hmp(f'qemu-io {top} "{line}"') == ""
    for command in ("query-block", "query-blockstats", "x-debug-query-block-graph"):
        vm.cmd(command)
    vm.cmd("query-named-block-nodes", flat=True)
    vm.cmd("block-dirty-bitmap-add", node=top, name="b")
    vm.qmp("x-blockdev-set-iothread", node_name=top, iothread="io")
    vm.qmp("blockdev-reopen", options=[{"driver": "raw", "node-name": top, "file": "n5"}])
    vm.qmp("blockdev-backup", job_id="j", device=top, target="target", sync="full")
    assert "internal error" not in str(vm.complaints)
    for number in range(202, -1, -1):
        vm.qmp("blockdev-del", node_name=f"n{number}")


def test_nested_options(vm: qmpd.Machine) -> None:
    for depth in (150, 300, 900):
        options: Any = {"driver": "null-co"}
        for _ in range(depth):
            options = {"driver": "raw", "file": options}
        answer = vm.qmp("blockdev-add", options | {"node-name": "top"})
        assert "internal error" not in str(answer)
        vm.qmp("blockdev-del", node_name="top")
    vm.cmd("query-status")


def test_images_that_name_each_other(vm: qmpd.Machine) -> None:
    for number in range(220):
        options: Any = {"driver": "qcow2", "file": f"f{number}", "size": 1 << 20}
        if number:
            options |= {"backing-file": f"i{number - 1}", "backing-fmt": "qcow2"}
        vm.cmd(
            "blockdev-create",
            job_id="c",
            options={"driver": "file", "filename": f"i{number}", "size": 0},
        )
        vm.job("c").wait()
        vm.cmd("job-dismiss", id="c")
        vm.cmd("blockdev-add", driver="file", node_name=f"f{number}", filename=f"i{number}")
        vm.cmd("blockdev-create", job_id="c", options=options)
        vm.job("c").wait()
        assert vm.job("c").error is None
        vm.cmd("job-dismiss", id="c")
        vm.cmd("blockdev-del", node_name=f"f{number}")
    opened = {"driver": "qcow2", "file": {"driver": "file", "filename": "i219"}, "node-name": "t"}
    answer = vm.qmp("blockdev-add", opened)
    assert "error" in answer
    assert "internal error" not in str(answer)
    opened["file"]["filename"] = "i20"  # type: ignore[index]
    assert "error" not in vm.qmp("blockdev-add", opened)
