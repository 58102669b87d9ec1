"""Two to four jobs side by side; graph, devices, media and guest change things: both programs.

Everything that a client sees is compared, in its order: the answers, and all events, those that
tell that a job has stood still for a moment while the graph was changed among them.  Where
QEMU's own order varies from run to run, what it does in one of a few runs will do.
"""

from __future__ import annotations

import os
from operator import eq
from shutil import rmtree
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from qmpd.profile.shipped import DEFAULT
from tests.differential.daemon_steps import bitmap_backups, bitmap_steps, clients, exports
from tests.differential.side_devices import devices
from tests.differential.side_rig import CLUSTER, DISKS, SIZE, Step, play
from tests.differential.side_schedules import scheduled
from tests.support.programs import qemu_missing
from tests.support.versions import DAEMON, SYSTEM, examples

VERSIONS: Final = ("5.2", "7.2", "10.0", "11.1")
EXAMPLES: Final = int(os.environ.get("QMPD_SIDE_BY_SIDE_EXAMPLES", "5"))
disks = st.integers(0, DISKS - 1)
speeds = st.sampled_from([1, 1, 1, 0])


@st.composite
def backups(draw: st.DrawFn) -> dict[str, Any]:
    """The arguments of a backup."""
    disk = draw(disks)
    return {
        "job-id": f"j{disk}",
        "device": f"top{disk}",
        "target": f"t{disk}",
        "sync": draw(st.sampled_from(["full", "top", "none"])),
        "speed": draw(speeds),
        "x-perf": {"max-workers": 1, "max-chunk": CLUSTER},
        "auto-dismiss": draw(st.booleans()),
        "auto-finalize": draw(st.booleans()),
    }


@st.composite
def starts(draw: st.DrawFn) -> Step:
    """A command that starts a job."""
    disk = draw(disks)
    common = {"job-id": f"j{disk}", "device": f"top{disk}", "speed": draw(speeds)}
    common["auto-dismiss"] = draw(st.booleans())
    kind = draw(st.sampled_from(["backup", "backup", "mirror", "commit", "stream"]))
    if kind == "backup":
        return "blockdev-backup", draw(backups())
    if kind == "mirror":
        sync = draw(st.sampled_from(["full", "top", "none"]))
        more = {"target": f"t{disk}", "sync": sync, "buf-size": CLUSTER, "granularity": CLUSTER}
        return "blockdev-mirror", common | more
    if kind == "commit":
        return "block-commit", common | {"top-node": f"mid{disk}", "base-node": f"base{disk}"}
    return "block-stream", common | draw(st.sampled_from([{}, {"base-node": f"base{disk}"}]))


@st.composite
def verbs(draw: st.DrawFn) -> Step:
    """A verb of a job."""
    job = f"j{draw(disks)}"
    names = ["pause", "resume", "cancel", "complete", "finalize", "dismiss"]
    if draw(st.integers(0, 4)) == 0:
        return "block-job-set-speed", {"device": job, "speed": 0}
    return f"job-{draw(st.sampled_from(names))}", {"id": job}


@st.composite
def changes(draw: st.DrawFn) -> Step:
    """A change of the graph, which has every job stand still for a moment."""
    name = draw(st.sampled_from(["a", "b"]))
    null = {"driver": "null-co", "size": SIZE}
    kind = draw(st.integers(0, 6))
    if kind == 0:
        return "blockdev-add", {**null, "node-name": name}
    if kind == 1:
        return "blockdev-add", {"driver": "raw", "node-name": name, "file": null}
    if kind == 2:
        return "blockdev-add", {"driver": "raw", "node-name": name, "file": "a"}
    if kind == 3:
        return "blockdev-add", {"driver": "qcow2", "node-name": name, "file": null}
    if kind == 4:
        file = {"driver": "file", "filename": "@/nothing"}
        return "blockdev-add", {"driver": "raw", "node-name": name, "file": file}
    if kind == 5:
        return "block_resize", {"node-name": name, "size": SIZE}
    return "blockdev-del", {"node-name": name}


@st.composite
def guest(draw: st.DrawFn) -> Step:
    """A write of the guest, or a bitmap's beginning."""
    node = f"top{draw(disks)}"
    at = draw(st.integers(0, 15)) * CLUSTER
    line = draw(st.sampled_from([f"write -q {at} 64k", f"read -q {at} 64k", "flush"]))
    return "human-monitor-command", {"command-line": f'qemu-io {node} "{line}"'}


@st.composite
def transactions(draw: st.DrawFn) -> Step:
    """Backups that begin together."""
    more = draw(st.lists(backups(), min_size=1, max_size=3, unique_by=lambda one: one["device"]))
    actions = [{"type": "blockdev-backup", "data": {**one, "speed": 1}} for one in more]
    mode = draw(st.sampled_from(["individual", "grouped"]))
    return "transaction", {"actions": actions, "properties": {"completion-mode": mode}}


RUNS: Final = 6
"""How many runs of the real one are asked, for an order that varies in it from run to run."""

SCHEDULES: Final = 400
"""Schedules at most that are tried for one order of the real one."""

at_work = (*(starts(), starts(), starts(), verbs(), verbs()), changes(), guest(), transactions())
at_work_alone = st.one_of(*at_work)
steps = st.one_of(*at_work, devices(), devices())
in_daemon = st.one_of(
    *(starts(), starts(), verbs(), verbs(), verbs(), changes(), transactions()),
    *(exports(), exports(), clients(), bitmap_steps(), bitmap_backups()),
)


@pytest.mark.parametrize("daemon", [False, True], ids=[SYSTEM, DAEMON])
@pytest.mark.parametrize("version", VERSIONS)
def test_any_sequence(version: str, daemon: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    kinds = steps if version == DEFAULT else at_work_alone

    @settings(
        max_examples=examples(version, EXAMPLES),
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    # Of devices of other versions, some ends are told before an answer or after it, as it happens.
    @given(st.lists(in_daemon if daemon else kinds, min_size=4, max_size=10))
    def compare(program: list[Step]) -> None:
        folder = tmp_path_factory.mktemp("rig")
        ours = play(folder / "ours", program, real=False, version=version, daemon=daemon)
        runs: list[list[list[Any]]] = []
        for number in range(RUNS):
            real = folder / f"real{number}"
            run = play(real, program, real=True, version=version, daemon=daemon)
            runs.append(run)
            differing = next((i for i, said in enumerate(ours) if _new(said, i, runs)), None)
            if differing is None:
                return
        assert differing is not None
        text = "\n".join(f"{command} {arguments}" for command, arguments in program)
        answers = "\n".join(f"QEMU {run[differing]}" for run in runs)
        raise AssertionError(f"{text}\nstep {differing}\n{answers}\nqmpd {ours[differing]}")

    compare()


def _new(said: list[Any], step: int, runs: list[list[list[Any]]]) -> bool:
    """Whether no run said the same; one that has ended before the step says nothing of it."""
    return all(step < len(run) and run[step] != said for run in runs)


@pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))
def test_what_qemu_does_is_among_the_schedules(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(at_work_alone, min_size=4, max_size=10))
    def compare(program: list[Step]) -> None:
        folder = tmp_path_factory.mktemp("rig")
        real = play(folder / "real", program, real=True)
        tried = []
        for seed in (None, *range(SCHEDULES)):
            tried.append(scheduled(folder / f"ours{seed}", program, seed)[: len(real)])
            rmtree(folder / f"ours{seed}")
            if tried[-1] == real:
                return
        text = "\n".join(f"{command} {arguments}" for command, arguments in program)
        best = max(tried, key=lambda run: sum(map(eq, run, real)))
        differing = next(i for i, said in enumerate(real) if best[i] != said)
        said = f"QEMU {real[differing]}\nqmpd {best[differing]}"
        raise AssertionError(f"{text}\nstep {differing}\n{said}")

    compare()
