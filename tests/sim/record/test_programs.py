"""``qmpd record``, ``replay`` and ``compare`` as programs, also before the real QEMU."""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import ExecuteError, QMPClient

from qmpd.testing import Server
from tests.support.programs import qemu_missing

QMPD = [sys.executable, "-I", "-m", "qmpd.cli.main"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="qmpd-"))
    yield path
    shutil.rmtree(path)


class Program:
    """One of the programs, as long as a block lasts."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [*QMPD, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self.first = self.process.stderr.readline()

    def __enter__(self) -> Program:
        return self

    def end(self) -> tuple[int, str]:
        """Wait for its end; its status, and what it said besides that it listens."""
        _, complaints = self.process.communicate(timeout=60)
        return self.process.returncode, complaints

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate()


def run(*words: str) -> tuple[int, str, str]:
    done = subprocess.run([*QMPD, *words], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@contextlib.contextmanager
def server(folder: Path, program: str) -> Iterator[str]:
    """A server of QMP with a disk, qmpd or the real QEMU."""
    path = f"{folder}/server.sock"
    if program == "qmpd":
        with Server("--disk", "disk0=1M", path=path):
            yield path
        return
    if missing := qemu_missing():
        pytest.skip(missing)
    image = folder / "disk0.raw"
    image.write_bytes(bytes(1 << 20))
    argv = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
    drive = ["-blockdev", f"raw,node-name=disk0,file.driver=file,file.filename={image}"]
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    listening.setblocking(False)
    fd = listening.fileno()
    qmp = ["-chardev", f"socket,id=c0,server=on,wait=off,fd={fd}", "-mon", "c0,mode=control"]
    process = subprocess.Popen(
        [*argv, *drive, *qmp], pass_fds=[fd], stderr=subprocess.DEVNULL, cwd=folder
    )
    listening.close()
    try:
        yield path
    finally:
        process.terminate()
        process.wait()


async def backup(path: str) -> list[Any]:
    """What a client of qemu.qmp's says, and what it is told."""
    client = QMPClient("test")
    await client.connect(path)
    told: list[Any] = []
    with client.listener(("JOB_STATUS_CHANGE", "BLOCK_JOB_COMPLETED")) as events:
        for command, arguments in (
            ("block-dirty-bitmap-add", {"node": "disk0", "name": "b0", "granularity": 65536}),
            ("block-dirty-bitmap-add", {"node": "disk0", "name": "b0"}),
            ("blockdev-add", {"driver": "null-co", "node-name": "target", "size": 1 << 20}),
            (
                "blockdev-backup",
                {"job-id": "j", "device": "disk0", "target": "target", "sync": "full"},
            ),
        ):
            try:
                told.append(await client.execute(command, arguments))
            except ExecuteError as error:
                told.append(str(error))
        async for event in events:
            data: Any = event["data"]
            if event["event"] == "BLOCK_JOB_COMPLETED":
                told.append(data)
            elif data["status"] == "null":
                break
    told.append(await client.execute("query-jobs"))
    await client.disconnect()
    return told


def send_all(sock: socket.socket, data: bytes) -> None:
    """Send, and leave."""
    with sock:
        sock.sendall(data)


@pytest.mark.parametrize("program", ["qmpd", "QEMU"])
def test_recorded_compared_and_replayed(folder: Path, program: str) -> None:
    file, client = str(folder / "session.jsonl"), f"{folder}/client.sock"
    with server(folder, program) as path:
        where = ("--listen", f"unix:{client}", "--connect", f"unix:{path}")
        with Program("record", "--once", *where, file) as recorder:
            assert recorder.first == f"qmpd record: listening at unix:{client}\n"
            told = asyncio.run(backup(client))
            assert recorder.end() == (0, "")
    assert told[1] == "Bitmap already exists: b0"
    assert told[-1] == []
    assert (folder / "session.jsonl").stat().st_mode & 0o777 == 0o600
    assert not Path(client).exists()

    status, out, complaints = run("compare", "--disk", "disk0=1M", file)
    assert (status, complaints) == (0, ""), out
    assert out == "7 answers and 7 events compared: no differences\n"

    with Program("replay", "--listen", f"unix:{client}", file) as player:
        assert asyncio.run(backup(client)) == told
        assert player.end() == (0, "")


def test_two_clients_one_after_the_other_and_what_is_left_out(folder: Path) -> None:
    file, client = str(folder / "session.jsonl"), f"{folder}/client.sock"
    with server(folder, "qmpd") as path:
        where = ("--listen", f"unix:{client}", "--connect", f"unix:{path}")
        with Program("record", "--redact", *where, file) as recorder:
            for _ in range(2):
                run("ctl", client, "block-dirty-bitmap-add", "node=disk0", "name=customer")
            recorder.process.send_signal(2)
            assert recorder.end() == (0, "")
    text = (folder / "session.jsonl").read_text()
    assert "customer" not in text
    entries = [json.loads(line) for line in text.splitlines()]
    assert [e["connection"] for e in entries if "opened" in e] == [1, 2]
    assert "Bitmap already exists: name-" in text
    status, out, _ = run("compare", "--disk", "disk0=1M", file)
    assert status == 1
    assert "Cannot find device=" in out


def test_a_client_that_asks_something_else(folder: Path) -> None:
    file, client = folder / "session.jsonl", f"{folder}/client.sock"
    lines = [
        {"qmpd-recording": 1},
        {"connection": 1, "from": "server", "message": {"QMP": {"capabilities": []}}},
        {"connection": 1, "from": "client", "message": {"execute": "qmp_capabilities"}},
        {"connection": 1, "from": "server", "message": {"return": {}}},
        {"connection": 1, "from": "client", "message": {"execute": "stop"}},
        {"connection": 1, "from": "server", "message": {"return": {}}},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Program("replay", "--listen", f"unix:{client}", str(file)) as player:
        status, _, complaint = run("ctl", client, "cont")
        assert status == 1
        assert 'Not as recorded: line 5: recorded {"execute": "stop"}, but the client' in complaint
        status, said = player.end()
    assert status == 1
    first, second = said.splitlines()
    assert first.startswith('qmpd replay: line 5: recorded {"execute": "stop"}, but the client')
    assert second.endswith("line 5: the client has left; 1 that were recorded were not asked")


def test_descriptors_pass_both_ways_and_no_byte_changes(folder: Path) -> None:
    """A server that is none of QMP's: what it gets and gives is as if nobody stood between."""
    path, client, file = f"{folder}/s", f"{folder}/c", folder / "session.jsonl"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    first, second = os.pipe()
    where = ("--listen", f"unix:{client}", "--connect", f"unix:{path}")
    with Program("record", "--once", *where, str(file)) as recorder, listener:
        with socket.socket(socket.AF_UNIX) as near:
            near.connect(client)
            far, _ = listener.accept()
            for one, other, data in ((near, far, b'{"execute": "getfd"} \xff'), (far, near, b"{}")):
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [first]))]
                one.sendmsg([data], rights)
                got, descriptors, _, _ = socket.recv_fds(other, 1000, 10)
                assert got == data
                (passed,) = descriptors
                assert os.fstat(passed).st_ino == os.fstat(first).st_ino
                os.close(passed)
            # a client that will say no more still gets what is to come, as much as it may be
            near.shutdown(socket.SHUT_WR)
            assert far.recv(10) == b""
            much = (
                b'{"x": "' + bytes(range(32, 127)).replace(b'"', b"").replace(b"\\", b"") * 50_000
            )
            sender = threading.Thread(target=send_all, args=(far, much))
            sender.start()
            received = b""
            while data := near.recv(1 << 16):
                received += data
            sender.join()
            assert received == much
        assert recorder.end() == (0, "")
    os.close(first)
    os.close(second)
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    said = [entry for entry in entries if "from" in entry]
    assert said[0]["message"] == {"execute": "getfd"}
    assert [entry.get("descriptors", 0) for entry in said] == [1, 1, 0, 0]
    assert said[2]["raw"] == "\udcff"
    assert said[3]["raw"] == much.decode()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("compare", "@/none"), "qmpd compare: Could not open '@/none': No such file or directory"),
        (("compare", "@/text"), "qmpd compare: '@/text' is no recording: its first line has no"),
        (("compare", "@/binary"), "qmpd compare: '@/binary' is no recording: it is no text"),
        (("compare", "@/broken"), "qmpd compare: '@/broken', line 2: it is no JSON ("),
        (("replay", "--listen", "unix:@/s", "@/broken"), "qmpd replay: '@/broken', line 2: it is"),
        (
            ("compare", "@/good", "--version", "9.9"),
            "qmpd compare: there is no profile '9.9' (there are: ",
        ),
        (
            ("compare", "@/good", "--disk", "disk0"),
            "qmpd compare: --disk: 'disk0' is not NAME=SIZE (for example disk0=64M)",
        ),
        (
            ("compare", "@/good", "--image", "a=/none.raw", "--storage", "overlay"),
            "qmpd compare: Could not open '/none.raw': No such file or directory",
        ),
        (
            ("replay", "@/good", "--listen", "@/s"),
            "qmpd replay: --listen @/s: it is not unix:PATH or tcp:HOST:PORT",
        ),
        (
            ("replay", "@/good", "--listen", "unix:@/text"),
            "qmpd replay: Failed to bind socket to @/text: Address already in use"
            " (what is there is no socket, and qmpd replaces nothing else)",
        ),
        (
            ("record", "@/none/f", "--listen", "unix:@/s", "--connect", "unix:@/s2"),
            "qmpd record: Could not open '@/none/f': No such file or directory",
        ),
    ],
)
def test_errors_in_words(folder: Path, words: tuple[str, ...], complaint: str) -> None:
    (folder / "text").write_text("hello\n")
    (folder / "binary").write_bytes(b"\xff\xfe\n")
    (folder / "broken").write_text('{"qmpd-recording": 1}\n{"connection": 1,\n')
    (folder / "good").write_text('{"qmpd-recording": 1}\n')
    status, out, said = run(*(word.replace("@", str(folder)) for word in words))
    assert (status, out) == (2, "")
    assert said.startswith(complaint.replace("@", str(folder)))
    assert not (folder / "s").exists()


def test_nobody_listens_at_the_servers_socket(folder: Path) -> None:
    where = ("--listen", f"unix:{folder}/c", "--connect", f"unix:{folder}/none")
    with Program("record", "--once", *where, str(folder / "f")) as recorder:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{folder}/c")
            assert client.recv(10) == b""
        assert recorder.end() == (
            1,
            f"qmpd record: Failed to connect to '{folder}/none': No such file or directory\n",
        )


def test_over_tcp(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with server(folder, "qmpd") as path:
        where = ("--listen", f"tcp:127.0.0.1:{port}", "--connect", f"unix:{path}")
        with Program("record", "--once", *where, str(folder / "f")) as recorder:
            with socket.create_connection(("127.0.0.1", port)) as client:
                assert client.recv(8) == b'{"QMP": '
            assert recorder.end() == (0, "")


def test_the_help_names_them() -> None:
    _, out, _ = run("--help")
    for command in ("record", "replay", "compare"):
        assert f"\n  {command} " in out
        status, described, _ = run(command, "--help")
        assert status == 0
        assert described.startswith(f"usage: qmpd {command} ")
