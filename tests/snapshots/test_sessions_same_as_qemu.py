"""Sessions with snapshots and jobs on a chain of three images, word for word as QEMU's."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.block.files import Files
from tests.support.normal import normal
from tests.support.programs import qemu_missing

pytestmark = [
    pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed"),
    pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing())),
]

IMAGES = {
    "base.qcow2": [],
    "mid.qcow2": ["-b", "base.qcow2", "-F", "qcow2"],
    "top.qcow2": ["-b", "mid.qcow2", "-F", "qcow2"],
    "t.qcow2": [],
    "u.qcow2": [],
}
_RESUMED = {"paused": "running", "standby": "ready"}


def _state(message: Any) -> tuple[str, str] | None:
    """The job and the state of a JOB_STATUS_CHANGE."""
    data = message.get("data", {})
    return (data["id"], data["status"]) if "status" in data else None


def _calm(messages: list[Any]) -> list[Any]:
    """Without moments that a job pauses for, which QEMU has at every change of the graph."""
    calm: list[Any] = []
    for message in messages:
        state = _state(message)
        if state is not None:
            last = next((m for m in reversed(calm) if (_state(m) or [None])[0] == state[0]), None)
            if last is not None and _RESUMED.get((_state(last) or ("", ""))[1]) == state[1]:
                calm.remove(last)
                continue
        calm.append(message)
    return calm


class Session(Files):
    """Both programs, with nodes base, mid and top on each other, and t and u."""

    def __init__(self, scratch: Path) -> None:
        for side in ("real", "ours"):
            (scratch / side).mkdir()
            for name, options in IMAGES.items():
                command = ["qemu-img", "create", "-q", "-f", "qcow2", *options, name, "1M"]
                subprocess.run(command, check=True, timeout=20, cwd=scratch / side)
        super().__init__(scratch)
        for node, backing in {"base": None, "mid": "base", "top": "mid", "t": 0, "u": 0}.items():
            file = {"driver": "file", "filename": f"{node}.qcow2"}
            named = {"backing": backing} if isinstance(backing, str) else {}
            self.add("qcow2", node, file=file, **named)

    def request(self, request: dict[str, Any]) -> Any:
        expected, got = (_calm(side.execute(request)) for side in (self.real, self.ours))
        assert (request, normal(got)) == (request, normal(expected))
        return got[-1]

    def until(self, event: str) -> None:
        """What comes up to an event, or a state of a job."""
        seen: list[list[Any]] = []
        for side in (self.real, self.ours):
            messages = [side.message()]
            while event not in (messages[-1]["event"], messages[-1]["data"].get("status")):
                messages.append(side.message())
            seen.append(_calm(messages))
        assert normal(seen[1]) == normal(seen[0])

    def graph(self) -> None:
        self.execute("query-named-block-nodes", flat=True)
        self.execute("x-debug-query-block-graph")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path)
    yield session
    session.close()


@pytest.mark.parametrize("overlay", ["base", "mid", "top", "t"])
def test_overlays_in_use(session: Session, overlay: str) -> None:
    """What stands below another image may still get a backing file, if it has none."""
    session.execute("blockdev-snapshot", node="u", overlay=overlay)
    session.execute("blockdev-snapshot", node="top", overlay=overlay)
    session.graph()


def test_overlay_of_a_file(session: Session) -> None:
    """A child that is another node counts as its parent's newest."""
    session.add("raw", "raw", file={"driver": "file", "node-name": "f", "filename": "new.raw"})
    for name in ("a", "b"):
        session.make(f"{name}.raw", 1 << 20)
        session.add("file", name, filename=f"{name}.raw")
    session.add("quorum", "q", children=["a", "b"], vote_threshold=1)
    session.execute("blockdev-snapshot", node="a", overlay="t")
    session.execute("blockdev-snapshot-sync", **{"node-name": "b", "snapshot-file": "x.qcow2"})
    session.graph()


def test_overlay_of_a_read_only_image(session: Session) -> None:
    """It is read-only as well."""
    session.delete("t")
    file = {"driver": "file", "filename": "t.qcow2"}
    session.add("qcow2", "t", file=file, read_only=True)
    for name, mode in (("one", "absolute-paths"), ("two", "existing")):
        arguments = {"snapshot-file": f"{name}.qcow2", "snapshot-node-name": name, "mode": mode}
        session.make("two.qcow2", 0)
        session.execute("blockdev-snapshot-sync", **{"node-name": "t", **arguments})
    session.graph()


@pytest.mark.parametrize("name", ["top", "mid", "base"])
@pytest.mark.parametrize("form", ["{}.qcow2", "./{}.qcow2", "{}", "file:{}.qcow2", ""])
def test_images_by_name(session: Session, name: str, form: str) -> None:
    """A node that stands on another image than its header names has no names for images."""
    arguments = {"device": "top", "job-id": "j", "auto-finalize": False}
    named = form.format(name)
    session.execute("block-commit", **arguments, top=named, base="nothing")
    session.execute("block-commit", **arguments, base=named, **{"top-node": "base"})
    session.delete("top")
    session.add("qcow2", "top", file={"driver": "file", "filename": "top.qcow2"})
    session.execute("block-commit", **arguments, top=named, base="nothing")
    session.execute("block-stream", **arguments, base=named, **{"backing-file": "other"})


def test_every_transaction_pauses_jobs(session: Session) -> None:
    """Also one of one action, and one that fails; commands on bitmaps are none."""
    session.execute("human-monitor-command", **{"command-line": 'qemu-io u "write -q 0 1M"'})
    slow = {"max-workers": 1, "max-chunk": 65536}
    session.execute(
        "blockdev-backup",
        **{"device": "u", "target": "t", "sync": "full", "job-id": "j", "speed": 1, "x-perf": slow},
    )
    internal = {"device": "top", "name": "s"}
    sync = {"node-name": "top", "snapshot-file": "none/x", "snapshot-node-name": "x"}
    bitmap = {"node": "top", "name": "b"}
    for command, arguments in (
        ("blockdev-snapshot", {"node": "top", "overlay": "nope"}),
        ("blockdev-snapshot-sync", sync),
        ("blockdev-snapshot-internal-sync", internal),
        ("blockdev-snapshot-internal-sync", internal),
        ("blockdev-snapshot-delete-internal-sync", internal),
        ("blockdev-backup", {"device": "top", "target": "nope", "sync": "full"}),
        ("block-dirty-bitmap-add", bitmap),
        ("block-dirty-bitmap-clear", bitmap),
        ("block-dirty-bitmap-remove", bitmap),
    ):
        request = {"execute": command, "arguments": arguments}
        expected, got = (side.execute(request) for side in (session.real, session.ours))
        assert (command, normal(got)) == (command, normal(expected))
    session.execute("job-cancel", id="j")


def test_read_only_while_written(session: Session) -> None:
    """Neither what a job writes may become read-only, nor is it written as long as it is."""
    arguments = {"device": "top", "target": "t", "sync": "full", "job-id": "j"}
    session.execute("blockdev-mirror", **arguments)
    session.until("ready")
    for node in ("t", "top", "mid"):
        backing = {"top": "mid", "mid": "base"}.get(node)
        named = {} if backing is None else {"backing": backing}
        file = {"driver": "file", "filename": f"{node}.qcow2"}
        options = {"driver": "qcow2", "node-name": node, "file": file, "read-only": True, **named}
        session.execute("blockdev-reopen", options=[options])
    session.graph()


def test_snapshots_with_odd_names(session: Session) -> None:
    """Columns are as wide as bytes, not as characters."""
    for name in ("ü", "üüüüüüüüüüüüü", "x" * 40):
        session.execute("blockdev-snapshot-internal-sync", device="u", name=name)
    shown = []
    for side in (session.real, session.ours):
        info = {"command-line": "info snapshots"}
        messages = side.execute({"execute": "human-monitor-command", "arguments": info})
        shown.append(re.sub(r"\d{4}-.*?\.\d{3}", "TIME", messages[-1]["return"]))
    assert shown[1] == shown[0]


def test_inactive_images(session: Session) -> None:
    """They get overlays, which are inactive as well; nothing that is active stands on them."""
    session.execute("blockdev-set-active", **{"node-name": "top", "active": False})
    named = {"device": "top", "job-id": "j"}
    session.execute("blockdev-mirror", target="t", sync="full", **named)
    session.execute("block-commit", **named)
    session.execute("block-commit", **named, **{"top-node": "mid"})
    session.execute("blockdev-backup", target="t", sync="full", **named)
    session.execute("blockdev-mirror", **{**named, "device": "t", "target": "top", "sync": "full"})
    session.execute("blockdev-snapshot", node="top", overlay="t")
    session.graph()


def test_below_a_backup(session: Session) -> None:
    """The options of a backup's filter are no part of names."""
    arguments = {"target": "t", "sync": "none", "job-id": "j", "filter-node-name": "f"}
    session.execute("blockdev-backup", device="mid", **arguments)
    session.graph()


def test_a_node_below_itself_twice(session: Session) -> None:
    """All images close."""
    file = {"driver": "file", "node-name": "f", "filename": "one.raw"}
    session.make("one.raw", 1 << 20)
    session.add("raw", "raw", file=file)
    session.add("quorum", "q", children=["raw", "mid"], vote_threshold=1)
    session.execute("blockdev-snapshot", node="raw", overlay="base")
    session.graph()


def test_reopening_with_another_file(session: Session) -> None:
    """The options that a file was opened with are not missed once there is another."""
    session.add("raw", "raw", file={"driver": "file", "node-name": "f", "filename": "u.qcow2"})
    session.execute("blockdev-snapshot", node="f", overlay="t")
    for file in ("f", "t", {"driver": "file", "filename": "u.qcow2"}, "u", "nope", "raw"):
        options = {"driver": "raw", "node-name": "raw", "file": file}
        session.execute("blockdev-reopen", options=[options])
        session.graph()
