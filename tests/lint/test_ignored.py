"""Errors after which a client goes on as if there had been none."""

from __future__ import annotations

import pytest

from qmpd.sim.lint import lint
from tests.lint.sessions import Line, answer, ask, error, event, found, rules, session

ADD = ask("blockdev-add", driver="null-co", node_name="t")
NO_ROOM = error("Could not open 't': No space left on device")
NOT_THERE = error("Cannot find device='t' nor node-name='t'")


def _uses(command: str, **arguments: object) -> list[Line]:
    return [ask(command, **arguments), NOT_THERE]


@pytest.mark.parametrize(
    ("made", "use"),
    [
        (ADD, ask("blockdev-backup", device="d", target="t", sync="full")),
        (ADD, ask("device_add", driver="scsi-hd", drive="t", id="hd")),
        (ADD, ask("blockdev-add", driver="raw", node_name="r", file="t")),
        (ADD, ask("transaction", actions=[{"type": "blockdev-backup", "data": {"target": "t"}}])),
        (
            ask("block-dirty-bitmap-add", node="d", name="b"),
            ask("blockdev-backup", device="d", target="t", sync="bitmap", bitmap="b"),
        ),
        (
            ask("block-dirty-bitmap-add", node="d", name="b"),
            ask("block-dirty-bitmap-merge", node="d", target="c", bitmaps=["b"]),
        ),
        (
            ask("blockdev-mirror", device="d", target="t", sync="full", job_id="j"),
            ask("job-pause", id="j"),
        ),
        (
            ask("object-add", qom_type="iothread", id="io"),
            ask("device_add", driver="virtio-scsi-pci", id="s", iothread="io"),
        ),
        (
            ask("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}}),
            ask("block-export-add", type="nbd", id="e", node_name="d"),
        ),
        (
            ask("transaction", actions=[{"type": "blockdev-backup", "data": {"job-id": "j"}}]),
            ask("job-complete", id="j"),
        ),
    ],
)
def test_what_was_not_made_is_used(made: Line, use: Line) -> None:
    assert rules(made, NO_ROOM, use, NOT_THERE) == [("not-made", 2, (4,))]
    # it worked: it was there, by some other way
    assert rules(made, NO_ROOM, use, answer()) == []
    # it was made in between
    assert rules(made, NO_ROOM, made, answer(), use, NOT_THERE) == []
    # another client cannot know
    assert rules(made, NO_ROOM, use, NOT_THERE, clients="1122") == []


def test_its_text() -> None:
    (finding,) = found(ADD, NO_ROOM, *_uses("blockdev-mirror", device="d", target="t", sync="full"))
    assert finding.text == (
        "blockdev-add: error ignored: 'Could not open 't': No space left on device', and"
        " blockdev-mirror uses node 't': 'Cannot find device='t' nor node-name='t'' (see 4)"
    )


@pytest.mark.parametrize(
    "lines",
    [
        # whoever cleans up need not know how far it has come
        [ADD, NO_ROOM, *_uses("blockdev-del", node_name="t")],
        # asked to see whether it can
        [ADD, NO_ROOM, ask("query-block"), answer([])],
        # asked again
        [ADD, NO_ROOM, ADD, NO_ROOM],
        # it is there
        [ADD, error("Duplicate nodes with node-name='t'"), *_uses("device_add", drive="t")],
        # it is another thing's
        [ADD, error("node-name=t is conflicting with a device id"), *_uses("eject", id="t")],
        # it is wrong, whatever there is
        [ADD, NO_ROOM, ask("device_add", drive="t"), error("Parameter 'driver' is missing")],
        [ADD, NO_ROOM, ask("device_add", driver="x", drive="t"), error("no such bus")],
        # asked before the error was there to read
        [ADD, ask("device_add", drive="t", id="d"), NO_ROOM, NOT_THERE],
    ],
)
def test_what_is_no_finding(lines: list[Line]) -> None:
    assert rules(*lines) == []


INCREMENTAL = ask(
    "blockdev-backup", device="d", target="t", sync="incremental", bitmap="b", job_id="j"
)
CLEAR = ask("block-dirty-bitmap-clear", node="d", name="b")


def test_a_backup_that_failed_and_its_bitmap() -> None:
    assert rules(INCREMENTAL, NO_ROOM, CLEAR, answer()) == [("backup-lost", 2, (4,))]
    failed = event("BLOCK_JOB_COMPLETED", device="j", error="No space left on device")
    (finding,) = found(INCREMENTAL, answer(), failed, CLEAR, answer())
    assert (finding.command, finding.place, finding.see) == ("BLOCK_JOB_COMPLETED", 4, (5,))
    done = event("BLOCK_JOB_COMPLETED", device="j", len=1, offset=1)
    assert rules(INCREMENTAL, answer(), done, CLEAR, answer()) == []
    again = [INCREMENTAL, answer(), failed, INCREMENTAL, answer(), done]
    assert rules(*again, CLEAR, answer()) == []
    assert rules(INCREMENTAL, NO_ROOM, CLEAR, error("busy")) == []


def test_found_again_is_counted() -> None:
    use = _uses("blockdev-mirror", device="d", target="t", sync="full")
    lines = [ADD, NO_ROOM, *use, ADD, NO_ROOM, *use]
    (finding,) = [each for each in lint(session(*lines), ("10.0",)) if each.kind == "ignored"]
    assert (finding.place, finding.times) == (2, 2)
