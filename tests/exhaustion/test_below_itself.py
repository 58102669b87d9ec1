"""Nodes whose options name themselves, which QEMU 10.0.2 does not always live through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

import qmpd

FILTERS: Final[dict[str, dict[str, Any]]] = {
    "raw": {},
    "qcow2": {},
    "snapshot-access": {},
    "copy-on-read": {},
    "copy-before-write": {"target": "a"},
    "blkdebug": {},
    "blkverify": {"test": "a"},
    "quorum": {"vote-threshold": 1},
    "throttle": {"throttle-group": "g"},
    "preallocate": {},
    "compress": {},
}
"""What stands on another node, and what it needs besides."""
BELOW: Final = {"blkdebug": "image", "blkverify": "raw"}
MORE: Final = {
    "qcow2": ("backing", "data-file"),
    "copy-before-write": ("target",),
    "blkverify": ("test",),
}
"""Further children."""


def over(driver: str, below: Any, place: str) -> dict[str, Any]:
    """The options of a node on another."""
    options = {"driver": driver, **FILTERS[driver]}
    if driver == "quorum":
        return {**options, "children": [below, "a"] if place == "file" else ["a", below]}
    first = BELOW.get(driver, "file")
    options[first] = "a"
    options[first if place == "file" else place] = below
    return options


@pytest.fixture
def vm() -> Iterator[qmpd.Machine]:
    with qmpd.Machine() as machine:
        machine.cmd("blockdev-add", driver="null-co", node_name="a", read_zeroes=True)
        machine.cmd("object-add", qom_type="throttle-group", id="g")
        yield machine


@pytest.mark.parametrize("driver", FILTERS)
def test_it_is_refused(vm: qmpd.Machine, driver: str) -> None:
    places = ("file", *MORE.get(driver, ("children.1",) if driver == "quorum" else ()))
    for place in places:
        for inner in FILTERS:
            for read_only in (False, True):
                options = over(driver, over(inner, "p", "file"), place)
                options |= {"node-name": "p", "read-only": read_only}
                answer = vm.qmp("blockdev-add", options)
                assert answer["error"]["class"] == "GenericError", options
                assert "internal error" not in answer["error"]["desc"], (options, answer)
                # nothing is left of it, and the name is free again
                (node,) = vm.cmd("query-named-block-nodes", flat=True)
                assert node["node-name"] == "a"
    assert "Traceback" not in str(vm.complaints)
    vm.cmd("blockdev-del", node_name="a")
