"""null-co and null-aio, and what is said of drivers that are not there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.drivers.pair import Drivers

NEITHER = ("bogus", "", 5, "commit_top", "mirror_top", "blkreplay-x", "ftp", "gluster", "vvfat-x")
"""Names that make no driver in QEMU either."""

ONLY_QEMU = (
    *("blklogwrites", "bochs", "cloop", "dmg", "host_device", "luks", "parallels"),
    *("qcow", "qed", "vdi", "vhdx", "vmdk", "vpc"),
)


@pytest.mark.parametrize("driver", ["null-co", "null-aio"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"size": 0},
        {"size": 1000},
        {"size": 2**63 - 1},
        {"size": 2**63},
        {"size": "x"},
        {"size": None},
        *({"latency-ns": value} for value in (5, 0, -5, 2**63, "x")),
        {"size": 512, "read-zeroes": True},
        {"read-zeroes": False},
        {"filename": "x"},
        {"read-only": True},
        {"discard": "unmap", "detect-zeroes": "unmap"},
        {"detect-zeroes": "unmap"},
        {"cache": {"direct": True, "no-flush": True}},
        {"cache": {}},
    ],
)
def test_null(pair: Drivers, driver: str, options: dict[str, Any]) -> None:
    pair.add(driver, "n", **options)
    pair.look()
    pair.io("n", "read -v 0 16", "write 0 512", "write -z 0 512", "discard 0 512", "map", "flush")
    pair.io("n", "info", "length", "write -c 0 512", "truncate 1M", "read 999 5", "alloc 0 512")
    pair.execute("query-blockstats", **{"query-nodes": True})
    node = {"driver": driver, "node-name": "n"}
    for change in (options, {}, {"size": 4096}, {**options, "read-only": True}):
        pair.reopen({**node, **change})
    pair.reopen({**node, **options, "latency-ns": 7})
    pair.execute("query-named-block-nodes")
    pair.execute("block_resize", size=512, **{"node-name": "n"})


def test_activity(pair: Drivers) -> None:
    node = {"driver": "null-co", "node-name": "n"}
    pair.add("null-co", "n", active=False)
    for change in ({}, {"active": False}, {"active": True}):
        pair.reopen({**node, **change})
        pair.execute("query-named-block-nodes")
    pair.delete("n")
    pair.add("null-co", "n")
    for change in ({"active": True}, {"active": False}, {}):
        pair.reopen({**node, **change})
        pair.execute("query-named-block-nodes")


@pytest.mark.parametrize("driver", NEITHER)
def test_no_drivers(pair: Drivers, driver: Any) -> None:
    for options in ({}, {"file": "none"}, {"file": {"driver": "null-co"}}, {"filename": "none"}):
        pair.execute("blockdev-add", driver=driver, **{"node-name": "x", **options})
    pair.add("raw", "r", file={"driver": driver})


@pytest.mark.parametrize("driver", ONLY_QEMU)
def test_drivers_of_qemu_alone(pair: Drivers, driver: str) -> None:
    """They are known, and not built in: qmpd says so as QEMU does of its modules."""
    options: dict[str, Any] = {"file": "none"}
    if driver == "blklogwrites":
        options = {"file": "none", "log": "none"}
    elif driver == "host_device":
        options = {"filename": "none"}
    arguments = {"driver": driver, "node-name": "x", **options}
    answer = pair.ours.execute({"execute": "blockdev-add", "arguments": arguments})
    assert answer == [{"error": {"class": "GenericError", "desc": f"Unknown driver '{driver}'"}}]
    for wrong in ({**arguments, "bogus": 1}, {"driver": driver, "node-name": "x"}):
        pair.execute("blockdev-add", **wrong)
