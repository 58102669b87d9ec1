"""snapshot-save, snapshot-load, snapshot-delete and `info snapshots`, one machine in the test."""

from __future__ import annotations

import re
from typing import Any

import pytest

from qmpd.errors import QmpError
from qmpd.loop.clock import NANOSECONDS
from tests.snapshots.world import SIZE, SnapshotWorld

ENDED_WELL = ["created", "running", "waiting", "pending", "concluded"]
FAILED = ["created", "running", "aborting", "concluded"]
HEAD = "ID      TAG               VM_SIZE                DATE        VM_CLOCK     ICOUNT"


def _run(world: SnapshotWorld, command: str, tag: str, *devices: str, vmstate: str = "") -> Any:
    """Run a job; returns its error, and its events with those of the guest."""
    del world.events[:]
    more = {} if command == "snapshot-delete" else {"vmstate": vmstate or devices[0]}
    world.execute(command, job_id="j", tag=tag, devices=list(devices), **more)
    [job] = [job for job in world.execute("query-jobs") if job["id"] == "j"]
    assert (job["type"], job["status"]) == (command, "concluded")
    assert (job["current-progress"], job["total-progress"]) == (1, 1)
    events = [data["status"] if data else name for name, data in world.events]
    world.execute("job-dismiss", id="j")
    return job.get("error"), events


def _snapshots(world: SnapshotWorld, name: str) -> list[dict[str, Any]]:
    for node in world.execute("query-named-block-nodes", flat=True):
        if node["node-name"] == name:
            found: list[dict[str, Any]] = node["image"].get("snapshots", [])
            return found
    raise AssertionError(name)


def _without_bitmaps(world: SnapshotWorld) -> SnapshotWorld:
    for number in range(len(world.disks)):
        world.execute("block-dirty-bitmap-remove", node=f"n{number}", name="b")
    return world


def test_the_guest_stands_still_while_it_is_saved() -> None:
    world = _without_bitmaps(SnapshotWorld(2))

    error, events = _run(world, "snapshot-save", "s", "n0", "n1")

    assert error is None
    assert events == ["created", "running", "STOP", "RESUME", "waiting", "pending", "concluded"]
    for node in ("n0", "n1"):
        [snapshot] = _snapshots(world, node)
        assert (snapshot["name"], snapshot["id"], snapshot["vm-state-size"]) == ("s", "1", 0)


def test_disks_come_back_whatever_was_written() -> None:
    world = _without_bitmaps(SnapshotWorld(3))
    _run(world, "snapshot-save", "s", "n0", "n1")
    saved = [bytes(model) for model in world.model]
    for number in range(3):
        world.write(number, 1000, b"later")

    error, events = _run(world, "snapshot-load", "s", "n1", "n0", vmstate="n0")

    assert error is None
    assert events == ["created", "running", "STOP", "RESUME", "waiting", "pending", "concluded"]
    world.model[:2] = [bytearray(model) for model in saved[:2]]
    world.check_content()


def test_a_disk_that_was_resized_has_its_old_size_again() -> None:
    world = _without_bitmaps(SnapshotWorld(1))
    _run(world, "snapshot-save", "s", "n0")
    world.execute("block_resize", node_name="n0", size=2 * SIZE)

    assert _run(world, "snapshot-load", "s", "n0")[0] is None

    assert world.disks[0].length() == SIZE
    world.check_content()


def test_deleting_leaves_other_snapshots_alone() -> None:
    world = SnapshotWorld(2)
    for tag in ("s", "t"):
        _run(world, "snapshot-save", tag, "n0", "n1")

    assert _run(world, "snapshot-delete", "s", "n0", "n1") == (None, ENDED_WELL)
    assert _run(world, "snapshot-delete", "nope", "n0", "n1") == (None, ENDED_WELL)

    assert [s["name"] for node in ("n0", "n1") for s in _snapshots(world, node)] == ["t", "t"]


def test_a_guest_that_is_stopped_stays_as_it_is() -> None:
    world = _without_bitmaps(SnapshotWorld(1))
    world.execute("stop")

    assert _run(world, "snapshot-save", "s", "n0") == (None, ENDED_WELL)
    assert _run(world, "snapshot-load", "s", "n0") == (None, ENDED_WELL)

    assert world.execute("query-status") == {"running": False, "status": "paused"}


def test_a_guest_that_cannot_be_loaded_stays_stopped() -> None:
    world = SnapshotWorld(1)

    error, events = _run(world, "snapshot-load", "s", "n0")

    assert error == "Snapshot 's' does not exist in one or more devices"
    assert events == ["created", "running", "STOP", "aborting", "concluded"]
    assert world.execute("query-status") == {"running": False, "status": "restore-vm"}
    world.execute("cont")
    assert world.execute("query-status")["running"]


@pytest.mark.parametrize(
    ("tag", "devices", "vmstate", "error"),
    [
        ("s", [], "n0", "At least one device is required for snapshot"),
        ("s", ["n0", "nope"], "n0", "No block device node 'nope'"),
        ("s", ["d0"], "d0", "No block device node 'd0'"),
        ("s", ["n0"], "n1", "vmstate block device 'n1' does not exist"),
        ("s", ["n0", "null"], "n0", "Device 'null' is writable but does not support snapshots"),
        ("taken", ["n0", "n1"], "n0", "Snapshot 'taken' already exists in one or more devices"),
    ],
)
def test_what_cannot_be_saved(tag: str, devices: list[str], vmstate: str, error: str) -> None:
    world = SnapshotWorld(2)
    world.execute("blockdev-add", driver="null-co", node_name="null", size=SIZE)
    _run(world, "snapshot-save", "taken", "n0", "n1")
    before = [_snapshots(world, node) for node in ("n0", "n1")]

    assert _run(world, "snapshot-save", tag, *devices, vmstate=vmstate) == (error, FAILED)

    assert [_snapshots(world, node) for node in ("n0", "n1")] == before


@pytest.mark.parametrize("job_id", ["1", "", "a b"])
def test_ids_are_checked_first(job_id: str) -> None:
    world = SnapshotWorld(0)

    with pytest.raises(QmpError) as caught:
        world.execute("snapshot-delete", job_id=job_id, tag="s", devices=[])

    assert caught.value.desc == f"Invalid job ID '{job_id}'"


def test_when_one_disk_fails_no_disk_keeps_the_snapshot() -> None:
    world = SnapshotWorld(1)
    file = world.make_image("/faulty")
    rule = {"event": "none", "iotype": "write", "once": True}
    faulty = {"driver": "blkdebug", "image": file, "inject-error": [rule]}
    world.execute("blockdev-add", driver="qcow2", node_name="faulty", file=faulty)

    error, events = _run(world, "snapshot-save", "s", "n0", "faulty")

    assert error == "Could not create snapshot 's' on 'faulty'"
    assert events == ["created", "running", "STOP", "RESUME", "aborting", "concluded"]
    assert _snapshots(world, "n0") == _snapshots(world, "faulty") == []
    assert _run(world, "snapshot-save", "s", "n0", "faulty")[0] is None


def test_a_disk_with_dirty_bitmaps_cannot_go_back() -> None:
    world = SnapshotWorld(1)
    _run(world, "snapshot-save", "s", "n0")

    error, _ = _run(world, "snapshot-load", "s", "n0")

    assert error == "Could not load snapshot 's' on 'd0': Device has active dirty bitmaps"


def test_a_snapshot_of_disks_only_is_not_loaded() -> None:
    world = _without_bitmaps(SnapshotWorld(2))
    world.execute("blockdev-snapshot-internal-sync", device="d0", name="only")
    _run(world, "snapshot-save", "s", "n0", "n1")
    text = "This is a disk-only snapshot. Revert to it  offline using qemu-img"

    assert _run(world, "snapshot-load", "only", "n0")[0] == text
    assert _run(world, "snapshot-load", "s", "n0", "n1", vmstate="n1")[0] == text


def test_snapshots_found_in_an_image_are_loaded() -> None:
    world = _without_bitmaps(SnapshotWorld(0))
    file = world.make_image("/disk")
    world.execute("blockdev-add", driver="qcow2", node_name="n", file=file)
    world.execute("blockdev-snapshot-internal-sync", device="n", name="s")
    world.execute("blockdev-del", node_name="n")
    world.execute("blockdev-add", driver="qcow2", node_name="n", file=file)

    assert _run(world, "snapshot-load", "s", "n")[0] is None


def test_snapshots_below_a_filter_are_its_own() -> None:
    world = SnapshotWorld(0)
    file = world.make_image("/disk")
    world.execute("object-add", qom_type="throttle-group", id="tg")
    image = {"driver": "qcow2", "node-name": "n", "file": file}
    world.execute(
        "blockdev-add", driver="throttle", node_name="top", throttle_group="tg", file=image
    )
    world.hmp('qemu-io top "write -P 1 0 64k"')
    assert _run(world, "snapshot-save", "s", "top")[0] is None
    world.hmp('qemu-io top "write -P 2 0 64k"')

    assert [s["name"] for s in _snapshots(world, "top")] == ["s"]
    # The real QEMU dies of this: its throttle node does not survive being opened anew.
    assert _run(world, "snapshot-load", "s", "top")[0] is None

    del world.printed[:]
    world.hmp('qemu-io top "read -P 1 0 64k"')
    assert "Pattern" not in "".join(world.printed)


def test_a_save_waits_for_writes_under_way() -> None:
    world = _without_bitmaps(SnapshotWorld(1))
    world.clock.enter(world.disks[0].pwrite(0, b"under way"), "guest write")
    world.model[0][:9] = b"under way"
    _run(world, "snapshot-save", "s", "n0")
    world.clock.run(world.disks[0].pwrite(0, b"after it!"))

    _run(world, "snapshot-load", "s", "n0")

    world.check_content()


def test_the_clock_of_the_guest_is_saved_and_loaded() -> None:
    world = _without_bitmaps(SnapshotWorld(1))
    world.clock.advance(3725 * NANOSECONDS)
    _run(world, "snapshot-save", "s", "n0")
    world.execute("stop")
    world.clock.advance(60 * NANOSECONDS)
    world.execute("blockdev-snapshot-internal-sync", device="d0", name="stopped")
    world.execute("cont")
    world.clock.advance(60 * NANOSECONDS)
    _run(world, "snapshot-load", "s", "n0")
    world.clock.advance(NANOSECONDS)
    _run(world, "snapshot-save", "t", "n0")

    seconds = {s["name"]: s["vm-clock-sec"] for s in _snapshots(world, "n0")}
    assert seconds == {"s": 3725, "stopped": 3725, "t": 3726}


def _info(world: SnapshotWorld) -> list[str]:
    """The lines of `info snapshots` without times."""
    text = world.hmp("info snapshots").replace("\r\n", "\n")
    return re.sub(r"(?<=B ).{19}  0000:00:00.000", "TIMES", text).splitlines()


def test_info_snapshots() -> None:
    world = SnapshotWorld(2)
    assert _info(world) == ["There is no snapshot available."]
    _run(world, "snapshot-save", "both", "n0", "n1")
    _run(world, "snapshot-save", "first", "n0")
    _run(world, "snapshot-save", "a tag longer than its column", "n1")

    assert _info(world) == [
        "List of snapshots present on all disks:",
        HEAD,
        "--      both                  0 B TIMES         --",
        "",
        "List of partial (non-loadable) snapshots on 'd0':",
        HEAD,
        "2       first                 0 B TIMES         --",
        "",
        "List of partial (non-loadable) snapshots on 'd1':",
        HEAD,
        "2       a tag longer than its column      0 B TIMES         --",
    ]


def test_info_snapshots_shows_nodes_without_a_backend_too() -> None:
    # bdrv_next goes on from a disk of the monitor's, not from one made by -drive: see
    # tests/block/test_walk_same_as_qemu.py.
    world = SnapshotWorld(1)
    file = world.make_image("/disk")
    world.execute("blockdev-add", driver="qcow2", node_name="n", file=file)
    _run(world, "snapshot-save", "s", "n")
    shown = [
        "None",
        "",
        "List of partial (non-loadable) snapshots on '':",
        HEAD,
        "1       s                     0 B TIMES         --",
    ]

    assert _info(world)[1:] == shown
    world.clock.run(world.disks[0].close())
    assert _info(world)[1:] == shown


def test_info_snapshots_without_disks() -> None:
    assert _info(SnapshotWorld(0)) == ["no block device can store vmstate for snapshot"]


def test_images_show_their_snapshots() -> None:
    world = SnapshotWorld(1)
    _run(world, "snapshot-save", "s", "n0")

    shown = world.hmp("info block -v d0").replace("\r\n", "\n").splitlines()

    at = shown.index("Snapshot list:")
    assert shown[at + 1] == HEAD
    assert shown[at + 2].startswith("1       s                     0 B ")
