"""Jobs in every state in which the end of the program may find them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.server.shutdown_program import CLUSTER, Ending

SLOW: dict[str, Any] = {"speed": 1, "x-perf": {"max-workers": 1, "max-chunk": CLUSTER}}
KEPT: dict[str, Any] = {"auto-finalize": False, "auto-dismiss": False}


def _backup(program: Ending, job: str = "j", target: str = "t", /, **more: Any) -> dict[str, Any]:
    program.target(target)
    names = {"job-id": job, "device": "disk", "target": target}
    return {**names, "sync": "incremental", "bitmap": "p", **more}


def _held(program: Ending, /, **more: Any) -> None:
    """An incremental backup that has copied a cluster, and writes that it does not know of."""
    program.do("blockdev-backup", **_backup(program, **SLOW, **more))
    program.until_copied("j", CLUSTER)
    program.guest(f"write -q -P 9 {40 * CLUSTER} 128k")


def backup_held(program: Ending) -> None:
    _held(program)


def backup_paused(program: Ending) -> None:
    _held(program)
    program.do("job-pause", id="j")
    program.until_state("j", "paused")


def backup_bitmap_always(program: Ending) -> None:
    program.do("blockdev-backup", **_backup(program, **{**SLOW, "sync": "bitmap"}, **ALWAYS))
    program.until_copied("j", CLUSTER)


ALWAYS = {"bitmap-mode": "always"}


def backup_pending(program: Ending) -> None:
    program.do("blockdev-backup", **_backup(program, **KEPT))
    program.until_state("j", "pending")
    program.guest(f"write -q -P 9 {40 * CLUSTER} 128k")


def backup_concluded(program: Ending) -> None:
    program.do("blockdev-backup", **_backup(program, **{"auto-dismiss": False}))
    program.until_state("j", "concluded")


def backup_failed_concluded(program: Ending) -> None:
    program.failing = {"event": "none", "iotype": "write", "errno": 5}
    perf = {"max-workers": 1, "max-chunk": CLUSTER}
    program.do("blockdev-backup", **_backup(program, **{"auto-dismiss": False, "x-perf": perf}))
    program.until_state("j", "concluded")


def backup_paused_by_error(program: Ending) -> None:
    program.failing = {"event": "none", "iotype": "write", "errno": 28}
    perf = {"max-workers": 1, "max-chunk": CLUSTER}
    program.do("blockdev-backup", **_backup(program, **{"x-perf": perf, "on-target-error": "stop"}))
    program.until_state("j", "paused")


def backup_none(program: Ending) -> None:
    program.target("t")
    program.do("blockdev-backup", job_id="j", device="disk", target="t", sync="none")
    program.guest("write -q -P 9 0 128k")


def _pair(program: Ending, first: dict[str, Any], second: dict[str, Any]) -> None:
    program.add_disk("other")
    program.target("u")
    one = _backup(program, "j0", **first)
    two = {"job-id": "j1", "device": "other", "target": "u", "sync": "full", **second}
    program.do(
        "transaction",
        actions=[{"type": "blockdev-backup", "data": data} for data in (one, two)],
        properties={"completion-mode": "grouped"},
    )


def group_waiting(program: Ending) -> None:
    _pair(program, {}, SLOW)
    program.until_state("j0", "waiting")


def group_held(program: Ending) -> None:
    _pair(program, SLOW, SLOW)
    program.until_copied("j0", CLUSTER)


def group_pending(program: Ending) -> None:
    _pair(program, KEPT, SLOW)
    program.until_state("j0", "waiting")
    program.do("block-job-set-speed", device="j1", speed=0)
    program.until_state("j0", "pending")


def _mirror(program: Ending, /, **more: Any) -> None:
    program.target("t")
    named = {"job-id": "j", "device": "disk", "target": "t", "sync": "full"}
    program.do("blockdev-mirror", **named, **more)


def mirror_ready(program: Ending) -> None:
    _mirror(program)
    program.until_state("j", "ready")
    program.guest(f"write -q -P 9 {40 * CLUSTER} 128k")
    program.until_synced("j")


def mirror_ready_blocking(program: Ending) -> None:
    _mirror(program, **{"copy-mode": "write-blocking"})
    program.until_state("j", "ready")
    program.guest(f"write -q -P 9 {40 * CLUSTER} 128k")


def mirror_standby(program: Ending) -> None:
    mirror_ready(program)
    program.do("job-pause", id="j")
    program.until_state("j", "standby")


def mirror_standby_completing(program: Ending) -> None:
    mirror_standby(program)
    program.do("job-complete", id="j")


def mirror_cancelled_softly_pending(program: Ending) -> None:
    _mirror(program, **KEPT)
    program.until_state("j", "ready")
    program.do("block-job-cancel", device="j")
    program.until_state("j", "pending")


def mirror_pending(program: Ending) -> None:
    _mirror(program, **KEPT)
    program.until_state("j", "ready")
    program.do("job-complete", id="j")
    program.until_state("j", "pending")


def mirror_paused_by_error(program: Ending) -> None:
    program.failing = {"event": "none", "iotype": "write", "errno": 5}
    _mirror(program, granularity=CLUSTER, **{"buf-size": CLUSTER, "on-target-error": "stop"})
    program.until_state("j", "paused")


def mirror_held(program: Ending) -> None:
    _mirror(program, speed=1, granularity=CLUSTER, **{"buf-size": CLUSTER})
    program.until_copied("j", CLUSTER)


def mirror_behind_throttle(program: Ending) -> None:
    """What has been started goes on at full speed."""
    program.do("object-add", qom_type="throttle-group", id="g", limits={"bps-write": 1})
    file = {"driver": "qcow2", "file": {"driver": "file", "filename": "t"}}
    throttle = {"driver": "throttle", "throttle-group": "g", "file": file}
    program.do("blockdev-add", node_name="t", **throttle)
    named = {"job-id": "j", "device": "disk", "target": "t", "sync": "full"}
    program.do("blockdev-mirror", **named, granularity=CLUSTER, **{"buf-size": CLUSTER})
    program.until_copied("j", CLUSTER)


def commit_held(program: Ending) -> None:
    program.do("block-commit", job_id="j", device="disk", top_node="mid", speed=1)
    program.until_copied("j", CLUSTER)


def commit_pending(program: Ending) -> None:
    program.do("block-commit", job_id="j", device="disk", top_node="mid", **KEPT)
    program.until_state("j", "pending")


def commit_active_ready(program: Ending) -> None:
    program.do("block-commit", job_id="j", device="disk")
    program.until_state("j", "ready")


def commit_active_pending(program: Ending) -> None:
    program.do("block-commit", job_id="j", device="disk", **KEPT)
    program.until_state("j", "ready")
    program.do("job-complete", id="j")
    program.until_state("j", "pending")


def stream_held(program: Ending) -> None:
    program.do("block-stream", job_id="j", device="disk", speed=1)
    program.until_copied("j", CLUSTER)


def stream_paused(program: Ending) -> None:
    stream_held(program)
    program.do("job-pause", id="j")
    program.until_state("j", "paused")


def stream_pending(program: Ending) -> None:
    program.do("block-stream", job_id="j", device="disk", base_node="base", **KEPT)
    program.until_state("j", "pending")


def create_pending(program: Ending) -> None:
    program.do(
        "blockdev-create", job_id="j", options={"driver": "file", "filename": "n", "size": 0}
    )
    program.until_state("j", "concluded")


def many(program: Ending) -> None:
    """One of each, in the order in which they began."""
    program.do(
        "blockdev-create", job_id="c", options={"driver": "file", "filename": "n", "size": 0}
    )
    program.until_state("c", "concluded")
    program.add_disk("other")
    program.add_disk("third", mid="third-mid", base="third-base")
    program.target("u")
    program.do("block-stream", job_id="s", device="third", speed=1)
    program.do("blockdev-mirror", job_id="m", device="other", target="u", sync="full")
    program.until_state("m", "ready")
    _held(program)


def nothing(program: Ending) -> None:
    program.guest("write -q -P 9 0 128k")


CASES: dict[str, Callable[[Ending], None]] = {
    case.__name__: case
    for case in (
        *(nothing, backup_held, backup_paused, backup_bitmap_always, backup_pending),
        *(backup_concluded, backup_failed_concluded, backup_paused_by_error, backup_none),
        *(group_waiting, group_held, group_pending, mirror_ready, mirror_ready_blocking),
        *(mirror_standby, mirror_standby_completing, mirror_cancelled_softly_pending),
        *(
            mirror_pending,
            mirror_paused_by_error,
            mirror_held,
            mirror_behind_throttle,
            commit_held,
            commit_pending,
        ),
        *(commit_active_ready, commit_active_pending, stream_held, stream_paused),
        *(stream_pending, create_pending, many),
    )
}
