"""Files that programs make for themselves: sockets, pid files, logs; and whose they are."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from qmpd.testing import RemoteMachine
from tests.security.test_modes import said
from tests.support.programs import QMPD_STORAGE_DAEMON
from tests.support.stdio import StdioProgram

QMPD: Final = [sys.executable, "-I", "-m", "qmpd.cli.main", "serve"]


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """``qmpd serve`` with its monitor at ``qmp``, and a umask that hides nothing."""
    process = subprocess.Popen(
        [*QMPD, "--qmp", f"unix:{folder / 'qmp'}", "--ready-fd", "1", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        umask=0,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"ready\n", process.stderr.read()
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("extra", [[], ["--clock", "virtual"]], ids=["plain", "bench"])
def test_all_that_is_made_is_its_owners(tmp_path: Path, extra: list[str]) -> None:
    own = ["--pidfile", str(tmp_path / "pid"), "--log-qmp", str(tmp_path / "log"), *extra]
    control = ["--control", f"unix:{tmp_path / 'control'}"]
    with (
        serving(tmp_path, "--disk", "d=1M", *own, *(control if extra else [])),
        RemoteMachine(str(tmp_path / "qmp")) as vm,
    ):
        where = {"type": "unix", "data": {"path": str(tmp_path / "nbd")}}
        vm.cmd("nbd-server-start", addr=where)
        where["data"] = {"path": str(tmp_path / "chardev")}
        data = {"addr": where, "wait": False}
        vm.cmd("chardev-add", id="c", backend={"type": "socket", "data": data})
        made = {path.name: mode(path) for path in tmp_path.iterdir()}
    names = {"qmp", "pid", "log", "nbd", "chardev", *(["control"] if extra else [])}
    assert made == dict.fromkeys(names, 0o600)
    # the socket of the NBD server stays, as QEMU's does
    assert {path.name for path in tmp_path.iterdir()} <= {"log", "nbd"}


@pytest.mark.parametrize("storage", ["memory", "overlay", "host"])
def test_an_export_replaces_nothing(tmp_path: Path, storage: str) -> None:
    place = tmp_path / "place"
    place.write_bytes(b"precious")
    with (
        serving(tmp_path, "--disk", "d=1M", "--storage", storage),
        RemoteMachine(str(tmp_path / "qmp")) as vm,
    ):
        vm.hmp("drive_del d")
        for path, answer in ((place, "Address already in use"), (tmp_path / "new", "ok")):
            options = {"type": "vhost-user-blk", "id": "e", "node-name": "d", "writable": True}
            where = {"type": "unix", "path": str(path)}
            assert answer in said(vm, "block-export-add", {**options, "addr": where})
        assert mode(tmp_path / "new") == 0o600
        (tmp_path / "new").unlink()
        (tmp_path / "new").write_bytes(b"precious")
    assert place.read_bytes() == (tmp_path / "new").read_bytes() == b"precious"


def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path, "--disk", "d=1M"):
        second = subprocess.run(
            [*QMPD, "--qmp", f"unix:{tmp_path / 'qmp'}"], capture_output=True, text=True, timeout=20
        )
        assert second.returncode == 1
        assert (
            f"Failed to bind socket to {tmp_path / 'qmp'}: Address already in use"
            " (somebody seems to listen there)"
        ) in second.stderr
        with RemoteMachine(str(tmp_path / "qmp")) as vm:
            assert vm.cmd("query-status")["running"]


def test_a_killed_daemon_is_followed(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        first.kill()
        first.wait()
        assert (tmp_path / "qmp").exists()
        with serving(tmp_path), RemoteMachine(str(tmp_path / "qmp")) as vm:
            assert vm.cmd("query-status")["running"]


@pytest.mark.parametrize("name", ["qmp", "pid"])
def test_what_is_removed_in_the_end_is_what_was_made(tmp_path: Path, name: str) -> None:
    with serving(tmp_path, "--pidfile", str(tmp_path / "pid")):
        (tmp_path / name).unlink()
        (tmp_path / name).write_bytes(b"precious")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"precious"


def test_a_socket_takes_no_files_place(tmp_path: Path) -> None:
    (tmp_path / "qmp").write_bytes(b"precious")
    done = subprocess.run(
        [*QMPD, "--qmp", f"unix:{tmp_path / 'qmp'}"], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    assert (tmp_path / "qmp").read_bytes() == b"precious"


# Programs with QEMU's own options, to which the environment says what is allowed


def _stand_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], **environment: str
) -> StdioProgram:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monitor = ["--chardev", "stdio,id=m", "--monitor", "m"]
    program = StdioProgram([*QMPD_STORAGE_DAEMON, *words, *monitor], folder)
    program.message()
    program.execute({"execute": "qmp_capabilities"})
    return program


def _add(program: StdioProgram, path: Path, **more: Any) -> str:
    options = {"driver": "file", "node-name": path.name, "filename": str(path), **more}
    answer = program.execute({"execute": "blockdev-add", "arguments": options})[-1]
    return str(answer.get("error", {"desc": "ok"})["desc"])


def test_a_stand_in_reads_and_writes_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside, named = (tmp_path / name for name in ("in/a", "out", "named"))
    inside.parent.mkdir()
    for path in (inside, outside, named):
        path.write_bytes(bytes(512))
    words = ["--blockdev", f"file,node-name=n,filename={named}"]
    program = _stand_in(
        tmp_path, monkeypatch, words, QMPD_STORAGE="host", QMPD_ALLOW=str(inside.parent)
    )
    try:
        assert _add(program, inside) == "ok"
        assert _add(program, outside, **{"read-only": True}) == "ok"
        assert "see --allow" in _add(program, tmp_path / "out", **{"node-name": "other"})
    finally:
        program.close()
    monkeypatch.delenv("QMPD_ALLOW")
    program = _stand_in(
        tmp_path, monkeypatch, words, QMPD_STORAGE="overlay", QMPD_ALLOW_READ=str(inside.parent)
    )
    try:
        assert _add(program, inside) == "ok"
        assert _add(program, named) == "ok"
        assert "see --allow-read" in _add(program, outside)
    finally:
        program.close()


@pytest.mark.parametrize("storage", ["memory", "overlay", "limited"])
def test_what_the_owner_names_is_not_the_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    """A log or a secret of the command line is no image that clients may open or write."""
    log, secret, image = tmp_path / "log", tmp_path / "secret", tmp_path / "image"
    secret.write_bytes(b"password")
    image.write_bytes(bytes(512))
    words = [
        *("--chardev", f"file,id=c,path={log}", "--object", f"secret,id=s,file={secret}"),
        *(["--blockdev", f"file,node-name=n,filename={image}"] if storage != "memory" else []),
    ]
    environment = {"QMPD_STORAGE": storage}
    if storage == "limited":
        environment = {"QMPD_STORAGE": "host", "QMPD_ALLOW": "/nowhere"}
        environment["QMPD_ALLOW_READ"] = "/nowhere"
    program = _stand_in(tmp_path, monkeypatch, words, **environment)
    try:
        for path in (log, secret):
            assert "ermission denied" in _add(program, path) or storage == "memory"
        data = {"type": "file", "data": {"out": str(image)}}
        paths = [log, secret] if storage == "limited" else [log, secret, image]
        for path in paths:
            data["data"] = {"out": str(path)}
            request = {"execute": "chardev-add", "arguments": {"id": "x", "backend": data}}
            assert "out of reach" in str(program.execute(request)[-1])
        assert secret.read_bytes() == b"password"
    finally:
        program.close()


def test_an_image_that_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With auto-read-only a file is opened for writing when somebody needs to write."""
    image = tmp_path / "image"
    image.write_bytes(bytes(512))
    words = ["--blockdev", f"file,node-name=n,filename={image},auto-read-only=on"]
    program = _stand_in(tmp_path, monkeypatch, words, QMPD_STORAGE="host", QMPD_ALLOW="/nowhere")
    try:
        where = {"type": "unix", "path": str(tmp_path / "sock")}
        export = {"type": "vhost-user-blk", "id": "e", "node-name": "n", "writable": True}
        request = {"execute": "block-export-add", "arguments": {**export, "addr": where}}
        assert program.execute(request)[-1] == {"return": {}}
    finally:
        program.close()


def test_what_the_owner_connects_to_is_connected_to_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "front"
    with socket.socket(socket.AF_UNIX) as front:
        front.bind(str(path))
        front.listen()
        front.settimeout(20)
        words = ["--chardev", f"socket,id=c,path={path},server=off,reconnect-ms=10"]
        allowed = str(tmp_path / "in")
        program = _stand_in(tmp_path, monkeypatch, words, QMPD_ALLOW_SOCKETS=allowed)
        try:
            front.accept()[0].close()
            front.accept()[0].close()
            where = {"type": "unix", "data": {"path": str(path)}}
            backend = {"type": "socket", "data": {"addr": where, "server": False}}
            request = {"execute": "chardev-add", "arguments": {"id": "d", "backend": backend}}
            # what the owner has not named is out of reach
            where["data"] = {"path": str(tmp_path / "other")}
            assert "--allow-sockets" in str(program.execute(request)[-1])
        finally:
            program.close()


@pytest.mark.parametrize("storage", ["memory", "overlay", "host"])
def test_a_stand_in_takes_a_files_place_as_qemu_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    place = tmp_path / "place"
    place.write_bytes(b"precious")
    program = _stand_in(tmp_path, monkeypatch, [], QMPD_STORAGE=storage)
    try:
        where = {"type": "unix", "data": {"path": str(place)}}
        request = {"execute": "nbd-server-start", "arguments": {"addr": where}}
        answer = program.execute(request)[-1]
        assert ("return" in answer) == (storage == "host")
        assert place.is_socket() == (storage == "host")
    finally:
        program.close()


def test_nonsense_in_the_environment_is_refused(tmp_path: Path) -> None:
    environment = {**os.environ, "QMPD_STORAGE": "memory", "QMPD_ALLOW": "/tmp"}
    done = subprocess.run(
        QMPD_STORAGE_DAEMON, env=environment, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    assert "storage 'memory' writes no files" in done.stderr


# FIFOs: nobody waits for their other end, and everybody can be ended


@pytest.mark.parametrize("storage", ["overlay", "host"])
def test_a_fifo_keeps_nobody_waiting(tmp_path: Path, storage: str) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    allow = ["--allow-read", str(tmp_path)] if storage == "overlay" else []
    with serving(tmp_path, "--disk", "d=1M", "--storage", storage, *allow) as process:
        with RemoteMachine(str(tmp_path / "qmp")) as vm:
            options = {"driver": "file", "node-name": "n", "filename": str(fifo)}
            for read_only in (True, False):
                answer = said(vm, "blockdev-add", {**options, "read-only": read_only})
                assert answer == f"'file' driver requires '{fifo}' to be a regular file"
            vm.hmp(f'qemu-io d "write -s {fifo} 0 512"')
            for data in ({"out": str(fifo)}, {"out": str(tmp_path / "out"), "in": str(fifo)}):
                said(vm, "chardev-add", id="c", backend={"type": "file", "data": data})
            said(vm, "migrate", uri=f"file:{fifo}")
            said(vm, "object-add", {"qom-type": "secret", "id": "s", "file": str(fifo)})
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


STUCK: Final = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # as all programs have it
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as after nohup
from qmpd.server.lifecycle import ignore_signals, watch_signals
ignore_signals()
watch_signals(lambda function: None, lambda number, sender: None, patience=0.05)
print("ready", flush=True)
os.read(os.pipe()[0], 1)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_nobody_hears_ends_the_process(number: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(20) == -number
    finally:
        process.kill()
        process.communicate()


def test_a_dead_socket_of_another_kind_stays(tmp_path: Path) -> None:
    """What takes datagrams lives, though nobody can connect a stream to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(tmp_path / "qmp"))
        done = subprocess.run(
            [*QMPD, "--qmp", f"unix:{tmp_path / 'qmp'}"], capture_output=True, text=True, timeout=20
        )
    assert done.returncode == 1
    assert (tmp_path / "qmp").is_socket()


def test_what_stands_between_is_its_owners(tmp_path: Path) -> None:
    """``qmpd record`` listens like the others."""
    words = ["--listen", f"unix:{tmp_path / 'front'}", "--connect", f"unix:{tmp_path / 'back'}"]
    record = [*QMPD[:-1], "record", *words, str(tmp_path / "session")]
    with subprocess.Popen(record, stderr=subprocess.PIPE, umask=0) as process:
        try:
            assert process.stderr is not None
            assert b"listening" in process.stderr.readline()
            assert mode(tmp_path / "front") == mode(tmp_path / "session") == 0o600
        finally:
            process.terminate()
