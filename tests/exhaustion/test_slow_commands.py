"""Commands that wait for a slow disk: all others are answered meanwhile, or what only looks is."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.exhaustion.beside import Client, Daemon
from tests.exhaustion.cases import hmp
from tests.support.until import until

SLOW = 0.15
"""Seconds that a sync takes."""

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


class SlowDaemon:
    """A daemon whose syncs are slow, or fail.

    :param inject: what happens to each
    """

    def __init__(self, folder: Path, inject: str) -> None:
        strace = ("strace", "-f", "-qq", "-o", "trace", "-e", "trace=fdatasync,fsync")
        program = (*strace, "-e", f"inject=fdatasync,fsync:{inject}")
        options = ("--storage", "host", "--image", "image", "--pidfile", "pid")
        self._trace = folder / "trace"
        self.daemon = Daemon(folder, *options, program=program)
        self.pid = int((folder / "pid").read_text())
        self.quiet = folder / "quiet"
        self.client = self.daemon.client()

    def run(self, command: str, **arguments: Any) -> None:
        answer = self.client.execute(command, **arguments)
        assert "return" in answer, answer

    def line(self, line: str) -> str:
        answer: str = json.loads(self.client.ask(hmp(line)))["return"]
        return answer

    def syncs(self) -> list[str]:
        """Who has synced so far, the number of a thread for each time."""
        lines = self._trace.read_text().splitlines()
        return [line.split()[0] for line in lines if "resumed" not in line]

    def job_ends(self, name: str) -> None:
        def concluded() -> bool:
            jobs = self.client.execute("query-jobs")["return"]
            return [job["status"] for job in jobs if job["id"] == name] == ["concluded"]

        until(concluded, seconds=30)
        self.run("job-dismiss", id=name)


@contextmanager
def slow_daemon(
    folder: Path, inject: str = f"delay_exit={int(SLOW * 1e6)}"
) -> Iterator[SlowDaemon]:
    with (folder / "image").open("wb") as image:
        image.truncate(8 << 20)
    slow = SlowDaemon(folder, inject)
    try:
        yield slow
        slow.run("quit")
        assert slow.daemon.process.wait(30) == 0
    finally:
        with suppress(OSError):
            os.kill(slow.pid, signal.SIGKILL)
        slow.daemon.process.wait()


def add_image(slow: SlowDaemon, name: str) -> None:
    """Have a node of a new qcow2 image."""
    (slow.quiet.parent / name).touch()
    slow.run("blockdev-add", driver="file", node_name=f"{name}-file", filename=name)
    options = {"driver": "qcow2", "file": f"{name}-file", "size": 4 << 20}
    slow.run("blockdev-create", job_id="create", options=options)
    slow.job_ends("create")
    slow.run("blockdev-add", driver="qcow2", node_name=name, file=f"{name}-file")


def test_no_command_syncs_in_the_main_loop(tmp_path: Path) -> None:
    with slow_daemon(tmp_path) as slow:
        add_image(slow, "a")
        add_image(slow, "b")
        for line in ("write 0 64k", "write -f 64k 64k", "aio_write -f 0 64k", "aio_flush"):
            slow.line(f'qemu-io a "{line}"')
        slow.run("block_resize", node_name="a", size=8 << 20)
        slow.run("blockdev-snapshot-internal-sync", device="a", name="s")
        slow.run("snapshot-save", job_id="j", tag="t", vmstate="a", devices=["a"])
        slow.job_ends("j")
        slow.line('qemu-io a "write 0 64k"')
        options = {"driver": "qcow2", "node-name": "a", "file": "a-file", "read-only": True}
        slow.run("blockdev-reopen", options=[options])
        slow.line('qemu-io disk0 "write 0 64k"')
        slow.line('qemu-io b "write 0 64k"')
        overlay = {"snapshot-file": "c", "snapshot-node-name": "c"}
        actions = [
            {"type": "blockdev-snapshot-sync", "data": {"device": "disk0", **overlay}},
            {"type": "blockdev-snapshot", "data": {"node": "c", "overlay": "b"}},
        ]
        slow.run("transaction", actions=actions)
        slow.line('qemu-io disk0 "write 0 64k"')
        slow.line("drive_del disk0")
        slow.run("blockdev-del", node_name="a")
        for command in ("drive-backup", "drive-mirror"):
            copy = {"device": "b", "target": command, "format": "qcow2", "sync": "none"}
            slow.run(command, job_id="copy", **copy)
            slow.run("job-cancel", id="copy")
            until(lambda: not slow.client.execute("query-jobs")["return"], seconds=30)
        syncs = slow.syncs()
        assert len(syncs) > 20
        assert str(slow.pid) not in syncs


def test_others_have_their_turn_before_a_command_begins(tmp_path: Path) -> None:
    """And only what looks at no image has, once it has begun."""
    with slow_daemon(tmp_path) as slow:
        add_image(slow, "a")
        slow.line('qemu-io a "write 0 64k"')
        other = Client(slow.quiet)
        before = len(slow.syncs())
        slow.client.send(b'{"execute": "blockdev-del", "arguments": {"node-name": "a"}}')
        until(lambda: len(slow.syncs()) > before, seconds=30)
        nodes = other.execute("query-named-block-nodes")["return"]
        assert "a" in [node["node-name"] for node in nodes]
        assert json.loads(slow.client.line()) == {"return": {}}
        nodes = other.execute("query-named-block-nodes")["return"]
        assert "a" not in [node["node-name"] for node in nodes]

        before = len(slow.syncs())
        slow.client.send(hmp('qemu-io disk0 "write -f 0 64k"'))
        until(lambda: len(slow.syncs()) > before, seconds=30)
        stats = '{"execute": "query-blockstats"}'
        other.send(b'{"execute": "query-version", "id": 1}' + stats.encode())
        assert json.loads(other.line())["id"] == 1
        # the answer to the command is there when that to the other query comes
        other.line()
        slow.client.socket.settimeout(0)
        assert json.loads(slow.client.line()) == {"return": ""}
        slow.client.socket.settimeout(60)
        other.close()


def test_a_disk_that_has_failed_is_not_trusted_again(tmp_path: Path) -> None:
    """The system tells once of what it could not write (``page_cache_inconsistent``)."""
    with slow_daemon(tmp_path, "error=EIO:when=1") as slow:
        slow.line('qemu-io disk0 "write 0 64k"')
        for _ in range(2):
            overlay = {"device": "disk0", "snapshot_file": "overlay"}
            answer = slow.client.execute("blockdev-snapshot-sync", **overlay)
            assert answer["error"]["desc"].endswith(" failed: Input/output error"), answer
        assert len(slow.syncs()) == 1
