"""Requests that come before the event which makes them safe, and loops instead of events."""

from __future__ import annotations

import pytest

import qmpd
from tests.lint.sessions import Line, answer, ask, error, event, found, rules, status

MIRROR = ask("blockdev-mirror", device="d", target="t", sync="full", job_id="j")
BACKUP = ask("blockdev-backup", device="d", target="t", sync="full", job_id="j")
READY = event("BLOCK_JOB_READY", device="j", type="mirror")
COMPLETED = event("BLOCK_JOB_COMPLETED", device="j", type="mirror")


def test_a_job_that_is_waited_for() -> None:
    done = [answer(), READY, ask("job-complete", id="j"), answer(), COMPLETED]
    assert rules(MIRROR, *done, ask("blockdev-del", node_name="t"), answer()) == []


@pytest.mark.parametrize(
    ("verb", "seen"),
    [
        ("job-complete", status("j", "ready")),
        ("block-job-complete", READY),
        ("job-finalize", status("j", "pending")),
        ("block-job-finalize", event("BLOCK_JOB_PENDING", id="j", type="mirror")),
        ("job-dismiss", status("j", "concluded")),
        ("block-job-dismiss", COMPLETED),
    ],
)
def test_a_verb_before_its_event(verb: str, seen: Line) -> None:
    asked = ask(verb, **{"device" if verb == "block-job-complete" else "id": "j"})

    assert rules(MIRROR, answer(), asked, answer()) == [("job-too-early", 4, (2,))]
    # what was refused because of it is told as well
    assert rules(MIRROR, answer(), asked, error("no"))[0][0] == "job-too-early"
    assert rules(MIRROR, answer(), seen, asked, answer()) == []
    assert rules(MIRROR, seen, answer(), asked, answer()) == []


def test_an_answer_may_show_it_as_well() -> None:
    ready = answer([{"id": "j", "status": "ready"}])
    look = [ask("query-jobs"), ready, ask("job-complete", id="j"), answer()]
    assert rules(MIRROR, answer(), *look) == []
    gone = [ask("query-block-jobs"), answer([]), ask("blockdev-del", node_name="t"), answer()]
    assert rules(BACKUP, answer(), *gone) == []


def test_another_client_may_have_seen_it() -> None:
    lines = [MIRROR, answer(), READY, ask("job-complete", id="j"), answer()]
    assert rules(*lines, clients="11122") == []


def test_a_job_of_before_is_not_judged() -> None:
    assert rules(ask("job-dismiss", id="j"), answer()) == []
    assert rules(MIRROR, error("no such node"), ask("job-dismiss", id="j"), error("no")) == []


def test_a_node_is_removed_while_a_job_uses_it() -> None:
    remove = [ask("blockdev-del", node_name="t"), answer()]
    assert rules(BACKUP, answer(), *remove) == [("job-at-work", 4, (2,))]
    assert rules(BACKUP, answer(), COMPLETED, *remove) == []
    assert rules(BACKUP, answer(), ask("blockdev-del", node_name="other"), answer()) == []
    in_transaction = ask(
        "transaction", actions=[{"type": "blockdev-backup", "data": BACKUP[1]["arguments"]}]
    )
    assert rules(in_transaction, answer(), *remove) == [("job-at-work", 4, (2,))]


def test_a_job_is_told_to_end_and_its_node_removed_at_once() -> None:
    cancel = [ask("block-job-cancel", device="j"), answer()]
    lines = [BACKUP, answer(), *cancel, ask("blockdev-del", node_name="t"), answer()]
    (finding,) = found(*lines)
    assert (finding.place, finding.see) == (6, (4,))
    assert finding.text == (
        "blockdev-del: may race: job 'j', which uses 't', was told to end, and was not seen to end:"
        " BLOCK_JOB_COMPLETED or BLOCK_JOB_CANCELLED (or JOB_STATUS_CHANGE) tells (see 4)"
    )


def test_a_job_of_an_id_that_is_taken() -> None:
    assert rules(BACKUP, answer(), BACKUP, error("in use")) == [("job-restarted", 4, (2,))]
    assert rules(BACKUP, answer(), status("j", "null"), BACKUP, answer()) == []


def test_an_image_that_is_not_made_yet() -> None:
    options = {"driver": "qcow2", "file": "f", "size": 1}
    create = [ask("blockdev-create", job_id="c", options=options), answer()]
    open_ = [ask("blockdev-add", driver="qcow2", node_name="n", file="f"), answer()]
    assert rules(*create, *open_) == [("job-at-work", 4, (2,))]
    assert rules(*create, status("c", "concluded"), *open_) == []
    # nodes of another kind of job may be opened while it runs
    assert rules(BACKUP, answer(), ask("blockdev-add", driver="raw", file="d"), answer()) == []


DEVICE = [ask("device_add", driver="scsi-hd", id="hd", drive="n"), answer()]
UNPLUG = [ask("device_del", id="hd"), answer()]
REMOVE = [ask("blockdev-del", node_name="n"), answer()]
GONE = event("DEVICE_DELETED", device="hd", path="/machine/peripheral/hd")


def test_a_device_that_is_still_there() -> None:
    assert rules(*DEVICE, *UNPLUG, *REMOVE) == [("still-going", 6, (4,))]
    assert rules(*DEVICE, *UNPLUG, GONE, *REMOVE) == []
    assert rules(*DEVICE, UNPLUG[0], GONE, UNPLUG[1], *REMOVE) == []
    assert rules(*DEVICE, UNPLUG[0], error("busy"), *REMOVE) == []
    assert rules(*DEVICE, *UNPLUG, *DEVICE) == [("still-going", 6, (4,))]
    assert rules(*DEVICE, *UNPLUG, UNPLUG[0], error("in the process of unplug")) == []


def test_a_device_of_the_command_line() -> None:
    info = {"device": "", "qdev": "/machine/peripheral/hd/virtio", "inserted": {"node-name": "n"}}
    look = [ask("query-block"), answer([info])]
    assert rules(*look, *UNPLUG, *REMOVE) == [("still-going", 6, (4,))]
    assert rules(*UNPLUG, *REMOVE) == []


def test_an_export_that_is_still_there() -> None:
    export = [ask("block-export-add", id="e", node_name="n", type="nbd"), answer()]
    end = [ask("block-export-del", id="e"), answer()]
    gone = event("BLOCK_EXPORT_DELETED", id="e")
    assert rules(*export, *end, *REMOVE) == [("still-going", 6, (4,))]
    assert rules(*export, *end, gone, *REMOVE) == []
    # it comes back when there are no exports any more
    assert rules(*export, *end, ask("nbd-server-stop"), answer(), *REMOVE) == []
    look = [ask("query-block-exports"), answer([])]
    assert rules(*export, *end, *look, *REMOVE) == []


def test_a_loop_of_questions() -> None:
    look = [ask("query-block-jobs"), answer([{"device": "j", "status": "running"}])]
    last = [ask("query-block-jobs"), answer([])]
    lines = [BACKUP, answer(), *look, *look, COMPLETED, *last]
    (finding,) = found(*lines)
    assert (finding.rule, finding.place, finding.see) == ("poll", 4, (9, 8))
    assert finding.why == "asked 3 times in a row, and BLOCK_JOB_COMPLETED has told"
    # whoever shows how far the job has come ends at the event
    assert rules(BACKUP, answer(), *look, *look, *look, COMPLETED, *REMOVE) == []
    # and may ask for the result at once
    times = [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 2.5, 2.51, 2.51]
    assert rules(*lines, times=times) == []
    assert rules(*lines, times=[*times[:7], 3.0, 3.0])[0][0] == "poll"


def test_tried_until_it_works() -> None:
    refused = [ask("job-complete", id="j"), error("not ready")]
    assert rules(*refused, *refused, *refused, ask("job-complete", id="j"), answer()) == [
        ("retry", 2, (8,))
    ]
    assert rules(*refused, *refused, ask("job-complete", id="j"), answer()) == []
    assert rules(*refused, *refused, *refused, *refused) == []


def test_in_a_program() -> None:
    with qmpd.Machine(disks={"d": "8M", "t": "8M"}, clock="held") as vm:
        vm.disk("d").write(0, b"x" * (8 << 20))
        mirror = {"device": "d", "target": "t", "sync": "full", "job-id": "j"}
        vm.cmd("blockdev-mirror", {**mirror, "speed": 1 << 20})
        with pytest.raises(qmpd.errors.GenericError):
            vm.cmd("job-complete", id="j")
        vm.clock.advance(60)
        assert vm.job("j").wait("ready") == "ready"
        vm.cmd("job-complete", id="j")
        vm.job("j").wait()
        findings = [finding for finding in vm.journal.lint() if finding.kind == "wait"]
    assert [(finding.command, finding.rule) for finding in findings] == [
        ("job-complete", "job-too-early")
    ]
