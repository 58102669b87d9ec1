"""Every order that QEMU shows is one that a schedule reaches.

A scenario is played to QEMU ``QMPD_QEMU_RUNS`` times (8 unless it is said otherwise), and to qmpd
under one schedule after the other until all that QEMU has shown has been seen.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest

from tests.differential.legal_orders import Scenario, Step, Wait, real_runs, scheduled_run
from tests.support.programs import qemu_missing

pytestmark = [
    pytest.mark.differential,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing())),
]

RUNS: Final = int(os.environ.get("QMPD_QEMU_RUNS", "8"))
SCHEDULES: Final = 4000
"""Schedules at most."""


def backup(job: str, source: str, target: str, **more: Any) -> dict[str, Any]:
    return {"job-id": job, "device": source, "target": target, "sync": "full", **more}


def start(job: str, source: str, target: str, **more: Any) -> Step:
    return "blockdev-backup", backup(job, source, target, **more)


def mirror(job: str, source: str, target: str) -> Step:
    return "blockdev-mirror", backup(job, source, target)


def grouped(*actions: dict[str, Any], mode: str = "grouped") -> Step:
    listed = [{"type": "blockdev-backup", "data": data} for data in actions]
    properties = {"completion-mode": mode}
    return "transaction", {"actions": listed, "properties": properties}


def ended(*jobs: str) -> tuple[Step, ...]:
    return tuple(Wait("JOB_STATUS_CHANGE", {"id": job, "status": "null"}) for job in jobs)


def ready(*jobs: str) -> tuple[Step, ...]:
    return tuple(Wait("BLOCK_JOB_READY", {"device": job}) for job in jobs)


def null_node(name: str) -> Step:
    return "blockdev-add", {"driver": "null-co", "node-name": name}


def job(command: str, name: str) -> Step:
    return f"job-{command}", {"id": name}


FEW: Final = {"x-perf": {"max-workers": 1, "max-chunk": 262144}}
"""A backup of few requests, one after the other."""

SCENARIOS: Final = {
    "one backup": Scenario("a t", (start("j", "a", "t"), *ended("j"))),
    "two backups": Scenario(
        "a b t u", (start("j", "a", "t"), start("k", "b", "u"), *ended("j", "k"))
    ),
    "a slow backup and a quick one": Scenario(
        "a b t u", (start("j", "a", "t", **FEW), start("k", "b", "u"), *ended("j", "k"))
    ),
    "how far a backup is": Scenario(
        "a t", (start("j", "a", "t", **FEW), ("query-jobs", {}), *ended("j"))
    ),
    "a transaction of two": Scenario(
        "a b t u",
        (
            grouped(backup("j", "a", "t"), backup("k", "b", "u"), mode="individual"),
            *ended("j", "k"),
        ),
    ),
    "a group of two": Scenario(
        "a b t u", (grouped(backup("j", "a", "t"), backup("k", "b", "u")), *ended("j", "k"))
    ),
    "a group of two, one fails": Scenario(
        "a b t", (grouped(backup("j", "a", "t"), backup("k", "b", "x")), *ended("j", "k")), bad="x"
    ),
    "a transaction of two, one fails": Scenario(
        "a b t",
        (
            grouped(backup("j", "a", "t"), backup("k", "b", "x"), mode="individual"),
            *ended("j", "k"),
        ),
        bad="x",
    ),
    "a node is added while a backup runs": Scenario(
        "a t", (start("j", "a", "t", **FEW), null_node("n"), *ended("j"))
    ),
    "a node is deleted while a backup runs": Scenario(
        "a c t", (start("j", "a", "t"), ("blockdev-del", {"node-name": "c"}), *ended("j"))
    ),
    "a backup is cancelled": Scenario(
        "a t", (start("j", "a", "t", **FEW), job("cancel", "j"), *ended("j"))
    ),
    "one of two backups is cancelled": Scenario(
        "a b t u",
        (
            start("j", "a", "t", **FEW),
            start("k", "b", "u", speed=1, **FEW),
            job("cancel", "k"),
            *ended("j", "k"),
        ),
    ),
    "a backup is paused": Scenario(
        "a t",
        (
            start("j", "a", "t", speed=1, **FEW),
            job("pause", "j"),
            job("resume", "j"),
            job("cancel", "j"),
            *ended("j"),
        ),
    ),
    "a mirror is completed": Scenario(
        "a t", (mirror("m", "a", "t"), *ready("m"), job("complete", "m"), *ended("m"))
    ),
    "a mirror and a backup": Scenario(
        "a b t u",
        (
            mirror("m", "a", "t"),
            start("k", "b", "u"),
            *ready("m"),
            job("cancel", "m"),
            *ended("m", "k"),
        ),
    ),
    "a mirror that has nothing to copy": Scenario(
        "a t",
        (
            ("blockdev-mirror", backup("m", "o", "t", sync="top")),
            *ready("m"),
            job("cancel", "m"),
            *ended("m"),
        ),
        overlays=(("o", "a"),),
    ),
    "an active commit that has nothing to copy": Scenario(
        "a",
        (
            ("block-commit", {"job-id": "c", "device": "o"}),
            *ready("c"),
            job("cancel", "c"),
            *ended("c"),
        ),
        overlays=(("o", "a"),),
    ),
    "two mirrors": Scenario(
        "a b t u",
        (
            mirror("m", "a", "t"),
            mirror("n", "b", "u"),
            *ready("m", "n"),
            job("complete", "n"),
            job("complete", "m"),
            *ended("m", "n"),
        ),
    ),
    "a stream": Scenario(
        "a", (("block-stream", {"job-id": "s", "device": "o"}), *ended("s")), overlays=(("o", "a"),)
    ),
    "a stream and a backup": Scenario(
        "a b t",
        (
            ("block-stream", {"job-id": "s", "device": "o"}),
            start("k", "b", "t"),
            *ended("s", "k"),
        ),
        overlays=(("o", "a"),),
    ),
    "a commit and a node that is added": Scenario(
        "a",
        (
            ("block-commit", {"job-id": "c", "device": "p", "top-node": "o", "base-node": "a"}),
            null_node("n"),
            *ended("c"),
        ),
        overlays=(("o", "a"), ("p", "o")),
    ),
    "a device is deleted": Scenario(
        "a",
        (("device_del", {"id": "d"}), null_node("n"), Wait("DEVICE_DELETED", {"device": "d"})),
        board="pc",
        plug=(
            ("device_add", {"driver": "virtio-scsi-pci", "id": "s"}),
            ("device_add", {"driver": "scsi-hd", "id": "d", "drive": "a", "bus": "s.0"}),
        ),
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_schedules_reach_what_qemu_shows(name: str, tmp_path: Path) -> None:
    scenario = SCENARIOS[name]
    shown = real_runs(scenario, tmp_path, RUNS)
    missing = dict(shown)
    for seed in range(SCHEDULES):
        missing.pop(scheduled_run(scenario, tmp_path, seed), None)
        if not missing:
            return
    one = "\n".join(next(iter(missing)))
    raise AssertionError(f"{len(missing)} of {len(shown)} orders are not reached, as\n{one}")
