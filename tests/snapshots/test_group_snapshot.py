"""blockdev-group-snapshot-sync: all disks or none, with the errors of 2012."""

from __future__ import annotations

from typing import Any

import pytest

from qmpd.errors import CommandNotFound, GenericError
from qmpd.profile import Personality, load
from qmpd.qapi.runtime.policy import CompatPolicy
from tests.snapshots.group import GROUPS
from tests.snapshots.world import SnapshotWorld
from tests.support.machines import TestMachine

COMMAND = "blockdev-group-snapshot-sync"

FAILURES = {
    "create fails": ("OpenFileFailed", "Could not open '/none/x'"),
    "open fails": ("OpenFileFailed", "Could not open '/closed/x'"),
    "no such format": ("InvalidBlockFormat", "Invalid block format 'nofmt'"),
    "no such protocol": ("InvalidBlockFormat", "Invalid block format 'qcow2'"),
    "no backing files": ("OpenFileFailed", "Could not open '/x'"),
    "busy": ("DeviceInUse", "Device 'd{0}' is in use"),
    "unknown": ("DeviceNotFound", "Device 'nope' not found"),
}
SPOILT: dict[str, dict[str, Any]] = {
    "create fails": {"snapshot-file": "/none/x"},
    "open fails": {"snapshot-file": "/closed/x"},
    "no such format": {"format": "nofmt"},
    "no such protocol": {"snapshot-file": "nope:x"},
    "no backing files": {"snapshot-file": "/x", "format": "raw"},
    "busy": {},
    "unknown": {"device": "nope"},
}


def _devices(size: int) -> list[dict[str, Any]]:
    return [{"device": f"d{disk}", "snapshot-file": f"/new{disk}"} for disk in range(size)]


@pytest.mark.parametrize(("size", "place"), GROUPS)
@pytest.mark.parametrize("failure", FAILURES)
def test_nothing_happens_unless_all_happens(size: int, place: int, failure: str) -> None:
    world = SnapshotWorld(size)
    if failure == "busy":
        world.execute("blockdev-add", driver="null-co", node_name="target", size=1 << 20)
        world.execute(
            "blockdev-backup", job_id="j", device=f"d{place}", target="target", sync="none"
        )
    before = world.state()
    devices = _devices(size)
    devices[place] |= SPOILT[failure]
    for later in devices[place + 1 :]:
        later["device"] = "later"

    error_class, desc = FAILURES[failure]
    assert world.error(COMMAND, devlist=devices) == (error_class, desc.format(place))
    assert world.state() == before
    world.check_content()

    if failure == "busy":
        world.execute("job-cancel", id="j")
    world.execute(COMMAND, devlist=_devices(size))
    assert world.tops() == [f"/new{disk}" for disk in range(size)]
    world.check_content()
    for disk in range(size):
        world.write(disk, 4096, b"after")
    world.check_content()
    world.clock.run(world.machine.close())


def test_bitmaps_stay_with_their_nodes() -> None:
    world = SnapshotWorld(2)

    world.execute(COMMAND, devlist=_devices(2))
    world.write(0, 1 << 19, b"new")

    nodes = {n["node-name"]: n for n in world.execute("query-named-block-nodes", flat=True)}
    assert nodes["n0"]["dirty-bitmaps"][0]["count"] == 65536
    assert [name for name, node in nodes.items() if "dirty-bitmaps" in node] == ["n1", "n0"]
    assert nodes["n0"]["ro"]


def test_the_format_is_qcow2_unless_another_is_named() -> None:
    world = SnapshotWorld(1)

    world.execute(COMMAND, devlist=_devices(1))

    [info] = world.execute("query-block")
    assert (info["inserted"]["drv"], info["inserted"]["backing_file"]) == ("qcow2", "/disk0")
    again = {"device": "d0", "snapshot-file": "/y", "format": ""}
    assert world.error(COMMAND, devlist=[again]) == (
        "InvalidBlockFormat",
        "Invalid block format ''",
    )


def test_a_device_named_twice_gets_two_overlays() -> None:
    world = SnapshotWorld(1)

    world.execute(COMMAND, devlist=[{**_devices(1)[0], "snapshot-file": f} for f in ("/x", "/y")])

    [info] = world.execute("query-block")
    assert (info["inserted"]["file"], info["inserted"]["backing_file"]) == ("/y", "/x")
    assert info["inserted"]["backing_file_depth"] == 2


def test_no_devices_are_no_error() -> None:
    assert SnapshotWorld(1).execute(COMMAND, devlist=[]) == {}


def test_nodes_are_no_devices() -> None:
    world = SnapshotWorld(1)

    assert world.error(COMMAND, devlist=[{"device": "n0", "snapshot-file": "/x"}]) == (
        "DeviceNotFound",
        "Device 'n0' not found",
    )


def test_policies_know_that_it_is_deprecated() -> None:
    test = TestMachine(compat=CompatPolicy(deprecated_input="reject"))

    with pytest.raises(CommandNotFound) as caught:
        test.execute(COMMAND, devlist=[])

    assert caught.value.desc == f"Deprecated command {COMMAND} disabled by policy"


@pytest.mark.parametrize("personality", list(Personality))
def test_it_is_listed_last(personality: Personality) -> None:
    test = TestMachine(personality=personality)

    assert [info["name"] for info in test.execute("query-commands")][-1:] == list(load().beyond)
    schema = test.execute("query-qmp-schema")
    [info] = [info for info in schema if info["name"] == COMMAND]
    assert info["features"] == ["deprecated"]


def test_arguments_are_checked_as_others_are() -> None:
    test = TestMachine()

    with pytest.raises(GenericError) as caught:
        test.execute(COMMAND, devlist=[{"device": "d0"}])

    assert caught.value.desc == "Parameter 'devlist[0].snapshot-file' is missing"
