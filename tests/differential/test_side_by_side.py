"""Two to four jobs side by side, graph changes and guest writes while they run: both programs.

Everything that a client sees is compared, in its order: the answers, and all events, those that
tell that a job has stood still for a moment while the graph was changed among them.  Where
QEMU's own order varies from run to run, what it does in one of three runs will do.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.interop.bench import ImageBench
from tests.support.event_text import event_text
from tests.support.normal import normal
from tests.support.programs import qemu_missing, qmpd_argv
from tests.support.stdio import StdioProgram

EXAMPLES: Final = int(os.environ.get("QMPD_SIDE_BY_SIDE_EXAMPLES", "5"))
CLUSTER: Final = 65536
SIZE: Final = 16 * CLUSTER
DISKS: Final = 4
QUIET: Final = 0.04
"""Seconds in which nothing is said when a program is held to be at rest."""

Step = tuple[str, dict[str, Any]]
"""A command and its arguments; ``@`` stands for the folder of the program."""


class Rig:
    """A program with four disks, each an overlay of two images, and nodes to copy to.

    :param folder: where its images are made
    """

    def __init__(self, folder: Path, *, real: bool) -> None:
        folder.mkdir()
        self.folder = folder
        argv = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
        argv += ["-qmp", "stdio"]
        self.program = StdioProgram(argv if real else qmpd_argv(argv), folder)
        self.program.message()
        self.do("qmp_capabilities", {})
        for disk in range(DISKS):
            self._add_disk(disk)

    def _add_disk(self, disk: int) -> None:
        backing = None
        for name in (f"base{disk}", f"mid{disk}", f"top{disk}"):
            path = self.folder / f"{name}.qcow2"
            bench = ImageBench()
            bench.create(path, SIZE, {})
            bench.close()
            node = {"driver": "qcow2", "node-name": name, "backing": backing}
            self.do("blockdev-add", node | {"file": {"driver": "file", "filename": str(path)}})
            if backing is not None:
                line = f'qemu-io {name} "write -q -P {disk + 1} 0 {SIZE // 2}"'
                self.do("human-monitor-command", {"command-line": line})
            backing = name
        path = self.folder / f"t{disk}.raw"
        path.write_bytes(bytes(SIZE))
        file = {"driver": "file", "filename": str(path)}
        self.do("blockdev-add", {"driver": "raw", "node-name": f"t{disk}", "file": file})

    def do(self, command: str, arguments: dict[str, Any]) -> list[Any]:
        """Run a command; what came until the program was at rest, the answer included."""
        text = {"execute": command, "arguments": _placed(arguments, str(self.folder))}
        said = [self._shown(message) for message in self.program.execute(text)]
        offsets = None
        while True:
            try:
                said.append(self._shown(self.program.message(QUIET)))
            except TimeoutError:
                *events, answer = self.program.execute({"execute": "query-block-jobs"})
                said += [self._shown(event) for event in events]
                before, offsets = offsets, [job["offset"] for job in answer["return"]]
                if not events and before == offsets:
                    return said

    def _shown(self, message: dict[str, Any]) -> Any:
        return event_text(message) if "event" in message else normal(message, str(self.folder))

    def close(self) -> None:
        """End the program."""
        self.program.close()


def _placed(value: Any, folder: str) -> Any:
    if isinstance(value, dict):
        return {name: _placed(one, folder) for name, one in value.items()}
    if isinstance(value, list):
        return [_placed(one, folder) for one in value]
    return value.replace("@", folder) if isinstance(value, str) else value


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


steps = st.one_of(
    starts(), starts(), starts(), verbs(), verbs(), changes(), guest(), transactions()
)


def play(folder: Path, program: list[Step], *, real: bool) -> list[list[Any]]:
    """What a program says to each step."""
    rig = Rig(folder, real=real)
    try:
        return [rig.do(*step) for step in program]
    finally:
        rig.close()


@pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))
def test_any_sequence(tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(steps, min_size=4, max_size=10))
    def compare(program: list[Step]) -> None:
        folder = tmp_path_factory.mktemp("rig")
        ours = play(folder / "ours", program, real=False)
        runs: list[list[list[Any]]] = []
        for number in range(3):
            runs.append(play(folder / f"real{number}", program, real=True))
            differing = next((i for i, said in enumerate(ours) if _new(said, i, runs)), None)
            if differing is None:
                return
        assert differing is not None
        text = "\n".join(f"{command} {arguments}" for command, arguments in program)
        answers = "\n".join(f"QEMU {run[differing]}" for run in runs)
        raise AssertionError(f"{text}\nstep {differing}\n{answers}\nqmpd {ours[differing]}")

    compare()


def _new(said: list[Any], step: int, runs: list[list[list[Any]]]) -> bool:
    return all(run[step] != said for run in runs)
