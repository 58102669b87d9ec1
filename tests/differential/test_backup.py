"""Backups, verbs, transactions, guest writes and faults: any sequence, both programs.

Jobs are held at one cluster by a speed of one byte a second, so that both programs are at the
same place when the next thing happens; one that is not held is waited for.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
)

from tests.backup.program import CLUSTER, CLUSTERS, DiskProgram
from tests.support.normal import normal
from tests.support.sequences import run_any_sequence
from tests.support.versions import DAEMON, SYSTEM, examples

VERSIONS = ("5.2", "7.2", "10.0", "11.1")
EXAMPLES = int(os.environ.get("QMPD_BACKUP_EXAMPLES", "16"))
DISKS = 3
UNREADABLE = 12
"""The cluster of the last disk that cannot be read."""
QUIET = 0.03
"""Seconds in which nothing moves when the programs are held to be quiet."""

PATIENCE = 0.25
"""The same where a job that nothing holds has yet to come to its end."""

disks = st.integers(0, DISKS - 1)
bitmaps = st.sampled_from(["a", "a", "a", "b"])
clusters = st.integers(0, CLUSTERS - 1)
policies = st.sampled_from(["report", "report", "stop", "enospc", "auto"])


@st.composite
def backups(draw: st.DrawFn) -> dict[str, Any]:
    """The arguments of a backup, but for the target's node."""
    disk = draw(disks)
    sync = draw(st.sampled_from(["full", "full", "top", "none", "incremental", "bitmap", "bitmap"]))
    arguments = {
        "job-id": f"j{disk}",
        "device": f"d{disk}",
        "sync": sync,
        "speed": draw(st.sampled_from([0, 1, 1])),
        "x-perf": {"max-workers": 1, "max-chunk": CLUSTER},
        "auto-finalize": draw(st.booleans()),
        "auto-dismiss": draw(st.booleans()),
        "on-target-error": draw(policies),
        "on-source-error": draw(policies),
    }
    if sync in ("incremental", "bitmap") or draw(st.integers(0, 3)) == 0:
        arguments["bitmap"] = draw(bitmaps)
        if sync != "incremental" or draw(st.booleans()):
            arguments["bitmap-mode"] = draw(st.sampled_from(["on-success", "never", "always"]))
    if draw(st.integers(0, 3)) == 0:
        arguments["on-cbw-error"] = draw(st.sampled_from(["break-guest-write", "break-snapshot"]))
    return arguments


@st.composite
def targets(draw: st.DrawFn) -> dict[str, Any]:
    """A cluster that the target refuses, if any, once or always."""
    if draw(st.integers(0, 2)):
        return {}
    return {"failing": draw(clusters), "once": draw(st.booleans())}


KINDS = ("add", "clear", "merge", "disable", "enable")


@st.composite
def bitmap_actions(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS) -> dict[str, Any]:
    """An action on a bitmap."""
    kind = draw(st.sampled_from(kinds))
    data: dict[str, Any] = {"node": f"s{draw(disks)}", "name": draw(bitmaps)}
    if kind == "merge":
        data = {"node": data["node"], "target": data["name"], "bitmaps": [draw(bitmaps)]}
    return {"type": f"block-dirty-bitmap-{kind}", "data": data}


class Backups(RuleBasedStateMachine):
    """Gives both programs the same; answers, events, bitmaps and targets must be the same."""

    scratch: ClassVar[Path]
    version: ClassVar[str]
    daemon: ClassVar[bool] = False
    programs: ClassVar[list[DiskProgram]] = []
    runs: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Any] = []
        self.made: list[str] = []

    @initialize()
    def start(self) -> None:
        cls = type(self)
        if not cls.programs:
            cls.runs += 1
            cls.programs = []
            for side in ("real", "ours"):
                folder = self.scratch / f"{side}{cls.runs}"
                real = side == "real"
                # Zeroes leave holes: whether what is only preallocated counts as data depends
                # on how far the kernel has read ahead.
                program = DiskProgram(
                    folder,
                    real=real,
                    disks=DISKS,
                    unreadable=UNREADABLE,
                    unmaps=True,
                    version=cls.version,
                    daemon=cls.daemon,
                )
                program.tells_pairs = True
                cls.programs.append(program)

    def do(self, command: str, **arguments: Any) -> Any:
        """Give both the same, wait until they are quiet, and compare."""
        self.said.append((command, arguments))
        answers = [normal(program.do(command, **arguments)) for program in self.programs]
        self.compare(answers)
        self.settle()
        return answers[0]

    def settle(self) -> None:
        """Compare events and jobs once both are quiet."""
        jobs = [_quiet(program) for program in self.programs]
        self.compare([_by_job(program.told()) for program in self.programs])
        self.compare(jobs)

    def compare(self, both: list[Any]) -> None:
        if both[0] != both[1]:
            text = "\n".join(map(str, self.said))
            raise AssertionError(f"{text}\nQEMU {both[0]}\nqmpd {both[1]}")

    def target(self, fault: dict[str, Any]) -> str:
        """A new target."""
        name = f"t{len(self.made)}"
        self.made.append(name)
        self.said.append((name, fault))
        for program in self.programs:
            program.add_target(name, **fault)
        return name

    @rule(backup=backups(), fault=targets())
    def back_up(self, backup: dict[str, Any], fault: dict[str, Any]) -> None:
        self.do("blockdev-backup", **backup, target=self.target(fault))

    @rule(
        # QEMU dies of a transaction that fails to enable or disable a bitmap.
        actions=st.lists(bitmap_actions(KINDS[:3]), max_size=2),
        more=st.lists(
            st.tuples(backups(), targets()),
            min_size=1,
            max_size=2,
            unique_by=lambda pair: pair[0]["device"],
        ),
        grouped=st.booleans(),
    )
    def transaction(self, actions: list[Any], more: list[Any], grouped: bool) -> None:
        if grouped and len(more) > 1:
            more = [_held(*pair) for pair in more]
        if self.version not in ("5.2", "7.2"):
            # QEMU dies where such a bitmap is to go again, since what follows it has failed.
            actions = [one for one in actions if not _handed_over(one, more[0][0])]
        jobs = [
            {"type": "blockdev-backup", "data": {**backup, "target": self.target(fault)}}
            for backup, fault in more
        ]
        mode = "grouped" if grouped else "individual"
        self.do("transaction", actions=actions + jobs, properties={"completion-mode": mode})

    @rule(disk=disks, verb=st.sampled_from(["pause", "resume", "cancel", "finalize", "dismiss"]))
    def verb(self, disk: int, verb: str) -> None:
        self.do(f"job-{verb}", id=f"j{disk}")

    @rule(disk=disks, force=st.booleans())
    def cancel(self, disk: int, force: bool) -> None:
        self.do("block-job-cancel", device=f"j{disk}", force=force)

    @rule(disk=disks, speed=st.sampled_from([0, 0, 1]))
    def set_speed(self, disk: int, speed: int) -> None:
        self.do("block-job-set-speed", device=f"j{disk}", speed=speed)

    @rule(disk=disks, cluster=clusters, kind=st.sampled_from(["write -q", "write -q -z -u"]))
    def write(self, disk: int, cluster: int, kind: str) -> None:
        if self.daemon:
            return  # it has no guest
        line = f'qemu-io d{disk} "{kind} {cluster * CLUSTER} 64k"'
        self.do("human-monitor-command", command_line=line)

    @rule(action=bitmap_actions())
    def bitmap(self, action: dict[str, Any]) -> None:
        self.do(action["type"], **action["data"])

    @rule(disk=disks, name=bitmaps)
    def remove_bitmap(self, disk: int, name: str) -> None:
        self.do("block-dirty-bitmap-remove", node=f"s{disk}", name=name)

    @rule()
    def look(self) -> None:
        self.compare([_look(program) for program in self.programs])

    def teardown(self) -> None:
        """End the jobs; compare what is left; give the next example the same programs."""
        if not self.programs:
            return
        try:
            self.look()
            for disk in range(DISKS):
                self.do("job-cancel", id=f"j{disk}")
                self.do("job-dismiss", id=f"j{disk}")
            for name in self.made:
                self.do("blockdev-del", node_name=name)
            self.compare([_contents(program, self.made) for program in self.programs])
            self.look()
            for disk in range(DISKS):
                for bitmap in ("a", "b"):
                    self.do("block-dirty-bitmap-remove", node=f"s{disk}", name=bitmap)
        except BaseException:
            self.close()
            raise

    @classmethod
    def close(cls) -> None:
        """End the programs."""
        programs, cls.programs = cls.programs, []
        for program in programs:
            program.close()


def _handed_over(action: dict[str, Any], backup: dict[str, Any]) -> bool:
    """Whether `action` adds a bitmap that a failing `backup` hands over to its successor."""
    place = {"node": f"s{backup['device'][1:]}", "name": backup.get("bitmap")}
    adds = action == {"type": "block-dirty-bitmap-add", "data": place}
    return adds and backup.get("bitmap-mode") == "always"


def _held(backup: dict[str, Any], fault: dict[str, Any]) -> tuple[Any, Any]:
    """A member of a group that comes to its faults only when it is let go.

    How far a member has come when another fails differs from run to run of QEMU itself.
    """
    held = {**backup, "speed": 1}
    if fault or backup["device"] == f"d{DISKS - 1}":
        held["sync"] = "full"
        for name in ("bitmap", "bitmap-mode"):
            held.pop(name, None)
    return held, fault if fault.get("failing") else {}


def _quiet(program: DiskProgram) -> list[Any]:
    """The jobs of a program, once nothing moves any more."""
    moving = time.monotonic()
    before = None
    while True:
        held = [j for j in program.do("query-block-jobs") if j["speed"] == 1]
        jobs: list[Any] = program.do("query-jobs")
        if jobs != before:
            before, moving = jobs, time.monotonic()
        waits = {j["device"] for j in held if j["offset"] >= CLUSTER}
        waits |= {j["id"] for j in jobs if j["status"] in ("paused", "pending", "concluded")}
        goes_on = any(
            job["status"] == "running" and job["current-progress"] < job["total-progress"]
            for job in jobs
            if job["id"] not in {j["device"] for j in held}
        )
        patience = PATIENCE if goes_on else QUIET
        if all(j["id"] in waits for j in jobs):
            break
        if time.monotonic() - moving > patience:
            if not program.program.at_work():
                break
            moving = time.monotonic()
    settled: list[Any] = normal(jobs)
    return settled


def _by_job(events: list[str]) -> dict[str, list[str]]:
    """Events in their order, job by job."""
    told: dict[str, list[str]] = {}
    for event in events:
        told.setdefault(event.split()[1], []).append(event)
    return told


def _look(program: DiskProgram) -> Any:
    shown = {}
    disks = {disk["device"]: disk["inserted"] for disk in program.do("query-block")}
    jobs = program.do("query-block-jobs")
    kept = any(job["status"] == "concluded" for job in jobs)
    # QEMU 5.2 dies of a look at the filter that a backup keeps which has ended.
    if program.daemon and not (kept and program.version == "5.2"):
        nodes = program.do("query-named-block-nodes", flat=True)
        disks = {node["node-name"]: node for node in nodes if node["node-name"][0] == "s"}
    for disk, node in disks.items():
        for bitmap in node.get("dirty-bitmaps", []):
            # A successor has no name.
            name = bitmap.get("name")
            place = {"node": disk, "name": name}
            sha = program.do("x-debug-block-dirty-bitmap-sha256", **place) if name else None
            shown[f"{disk} {name}"] = (bitmap, sha)
    return normal([shown, [{**job, "busy": None} for job in jobs]])


def _contents(program: DiskProgram, names: list[str]) -> dict[str, list[set[int]]]:
    """The bytes of each cluster of the targets."""
    return {
        name: [
            set(data[at : at + CLUSTER])
            for data in [(program.folder / f"{name}.target").read_bytes()]
            for at in range(0, len(data), CLUSTER)
        ]
        for name in names
    }


@pytest.mark.parametrize("daemon", [False, True], ids=[SYSTEM, DAEMON])
@pytest.mark.parametrize("version", VERSIONS)
def test_any_sequence(version: str, daemon: bool, tmp_path: Path) -> None:
    class Versions(Backups):
        pass

    Versions.scratch, Versions.version, Versions.daemon = tmp_path, version, daemon
    try:
        run_any_sequence(Versions, examples=examples(version, EXAMPLES, few=4), steps=12)
    finally:
        Versions.close()
