"""A backup of QEMU 5.2, which keeps its filter until it is dismissed."""

from __future__ import annotations

from typing import Any

import qmpd


def _filters(vm: qmpd.Machine) -> list[dict[str, Any]]:
    nodes = vm.cmd("query-named-block-nodes")
    return [node for node in nodes if node["drv"] == "backup-top"]


def test_queries_are_answered_though_its_filter_has_no_source_any_more() -> None:
    """The real one dies of them."""
    with qmpd.Machine(version="5.2", disks={"d": "1M", "t": "1M"}) as vm:
        vm.disk("d").write(0, b"x" * 4096)
        backup: dict[str, Any] = {"device": "d", "target": "t", "sync": "full"}
        how = {"auto-dismiss": False, "filter-node-name": "above"}
        vm.cmd("blockdev-backup", {"job-id": "j"} | backup | how)
        assert vm.job("j").wait() == "concluded"
        (node,) = _filters(vm)
        assert (node["node-name"], node["backing_file_depth"]) == ("above", 0)
        graph = vm.cmd("x-debug-query-block-graph")
        ids = {thing["name"]: thing["id"] for thing in graph["nodes"]}
        below = {edge["name"] for edge in graph["edges"] if edge["parent"] == ids["above"]}
        assert below == {"target"}
        error = vm.qmp("blockdev-del", {"node-name": "t"})["error"]["desc"]
        assert error == "Node t is in use"
        vm.cmd("job-dismiss", id="j")
        assert _filters(vm) == []
