"""What the options allow, and nothing else: `allow_read`, `allow_write`, sockets."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

import qmpd
from qmpd.errors import QmpError
from qmpd.testing import RemoteMachine

AnyMachine = qmpd.Machine | RemoteMachine

SIZE = 65536


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory ``in`` that is allowed, and one ``out`` that is not, each with an image."""
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "image").write_bytes(name.encode() * (SIZE // len(name)))
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out" / "image")
    (tmp_path / "in" / "dangling").symlink_to(tmp_path / "out" / "new")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "out")
    return tmp_path


def said(
    vm: qmpd.Machine | RemoteMachine,
    command: str,
    more: dict[str, Any] | None = None,
    **arguments: Any,
) -> str:
    """What is answered: the text of an error, or ``ok``."""
    try:
        vm.cmd(command, more, **arguments)
    except QmpError as error:
        return error.desc
    return "ok"


def opened(vm: qmpd.Machine, path: Path | str, **more: Any) -> str:
    """What is answered when an image is opened, and closed again."""
    answer = said(vm, "blockdev-add", driver="file", node_name="n", filename=str(path), **more)
    if answer == "ok":
        vm.cmd("blockdev-del", node_name="n")
    return answer


def created(vm: qmpd.Machine, options: dict[str, Any]) -> str:
    """What becomes of a job that makes an image: the text of an error, or ``ok``."""
    vm.cmd("blockdev-create", job_id="c", options=options)
    job = vm.job("c")
    job.wait("concluded")
    error = job.error
    vm.cmd("job-dismiss", id="c")
    return error or "ok"


OUTSIDE = ("out/image", "out/nope", "in/../out/image", "in/link", "in/folder/image", "in/folder/no")


def test_overlay_reads_what_it_was_told(folder: Path) -> None:
    image = {"path": str(folder / "out" / "image")}
    with qmpd.Machine(storage="overlay", images={"d": image}, allow_read=[folder / "in"]) as vm:
        assert opened(vm, folder / "in" / "image") == "ok"
        assert opened(vm, folder / "in" / "nope").endswith("No such file or directory")
        # an image that was named at the start can be opened again
        vm.cmd("blockdev-add", driver="file", node_name="n", filename=image["path"])
    with qmpd.Machine(storage="overlay", allow_read=[folder / "in"]) as vm:
        for name in OUTSIDE:
            answer = opened(vm, f"{folder}/{name}", read_only=True)
            assert answer.endswith(
                "Permission denied (out of reach with storage 'overlay'; see --allow-read)"
            )


def test_backing_files_are_no_way_out(folder: Path) -> None:
    outside = str(folder / "out" / "image")
    path = str(folder / "in" / "overlay.qcow2")
    with qmpd.Machine(storage="overlay", allow_read=[folder / "in"]) as vm:
        assert created(vm, {"driver": "file", "filename": path, "size": 0}) == "ok"
        vm.cmd("blockdev-add", driver="file", node_name="f", filename=path)
        layered = {"driver": "raw", "file.driver": "file", "file.filename": outside}
        for backing in (outside, f"file:{outside}", f"json:{json.dumps(layered)}"):
            image = {"driver": "qcow2", "file": "f", "size": SIZE, "backing-fmt": "raw"}
            assert created(vm, {**image, "backing-file": backing}) == "ok"
            answer = said(vm, "blockdev-add", driver="qcow2", node_name="q", file="f")
            assert answer.startswith("Could not open backing file")
            assert "--allow-read" in answer
    assert not (folder / "in" / "overlay.qcow2").exists()


def test_host_writes_where_it_was_told(folder: Path) -> None:
    with qmpd.Machine(storage="host", allow_write=[folder / "in"]) as vm:
        assert opened(vm, folder / "in" / "image") == "ok"
        assert opened(vm, folder / "out" / "image", read_only=True) == "ok"
        for name in OUTSIDE:
            answer = opened(vm, f"{folder}/{name}")
            assert "Permission denied (out of reach with storage 'host'; see --allow)" in answer
        for name in ("out/new", "in/dangling", "in/folder/new", "in/../out/new", "in/new"):
            options = {"driver": "file", "filename": f"{folder}/{name}", "size": 512}
            answer = created(vm, options)
            assert (answer == "ok") == (name == "in/new"), answer
        with vm.serve():
            for address in (f"file:{folder}/out/new", f"exec:touch {folder}/out/new", "fd:0"):
                assert said(vm, "migrate", uri=address) != "ok"
            for what in ({"out": f"{folder}/out/new"}, {"out": "/dev/null", "in": "/etc/passwd"}):
                assert "out of reach" in said(
                    vm, "chardev-add", id="c", backend={"type": "file", "data": what}
                )
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["image"]
    assert (folder / "in" / "new").exists()


def test_a_single_path_will_do(folder: Path) -> None:
    for path in (folder / "in", str(folder / "in")):
        with qmpd.Machine(storage="overlay", allow_read=path) as vm:
            assert opened(vm, folder / "in" / "image") == "ok"
            assert opened(vm, folder / "out" / "image") != "ok"


def test_host_reads_where_it_was_told(folder: Path) -> None:
    places = {"allow_write": [folder / "in"], "allow_read": [folder / "out" / "image"]}
    with qmpd.Machine(storage="host", **places) as vm:  # type: ignore[arg-type]
        assert opened(vm, folder / "in" / "image") == "ok"
        assert opened(vm, folder / "out" / "image", read_only=True) == "ok"
        assert "see --allow)" in opened(vm, folder / "out" / "image")
        assert "--allow-read" in opened(vm, "/etc/passwd", read_only=True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"allow_write": ["/"]}, "storage 'memory' writes no files"),
        ({"allow_read": ["/"]}, "storage 'memory' reads no files"),
        ({"allow_write": ["/"], "storage": "overlay"}, "storage 'overlay' writes no files"),
        ({"allow_read": ["/"], "storage": "host"}, "needs allow_write"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        qmpd.Machine(**arguments)


@pytest.mark.parametrize("storage", ["overlay", "host"])
def test_nobody_waits_for_a_fifo_or_a_device(folder: Path, storage: Any) -> None:
    fifo = folder / "in" / "fifo"
    os.mkfifo(fifo)
    allow = {"allow_read": ["/"]} if storage == "overlay" else {}
    with qmpd.Machine(storage=storage, disks={"d": "1M"}, **allow) as vm:  # type: ignore[arg-type]
        for path in (str(fifo), "/dev/zero", "/dev/tty"):
            answer = opened(vm, path, read_only=True)
            assert f"'file' driver requires '{path}' to be a regular file" == answer or (
                path == "/dev/tty"
            )
        vm.hmp(f'qemu-io d "write -s {fifo} 0 512"')
        assert "file is empty" in vm.printed[-1]
        for object_type, name in (("secret", "file"), ("rng-random", "filename")):
            said(vm, "object-add", {"qom-type": object_type, "id": object_type, name: str(fifo)})
        if storage == "host":
            backend = {"type": "file", "data": {"out": str(fifo)}}
            answer = said(vm, "chardev-add", id="c", backend=backend)
            assert answer.endswith("No such device or address")


# Sockets


@pytest.fixture
def vm_served(folder: Path) -> Any:
    with qmpd.Machine(disks={"d": "1M"}) as vm, vm.serve():
        yield vm


def _listen(vm: qmpd.Machine, path: Path) -> str:
    return said(vm, "nbd-server-start", addr={"type": "unix", "data": {"path": str(path)}})


@pytest.mark.parametrize("kind", ["file", "folder", "link", "live"])
def test_a_socket_replaces_nothing_but_a_dead_socket(
    vm_served: qmpd.Machine, folder: Path, kind: str
) -> None:
    path = folder / "place"
    with socket.socket(socket.AF_UNIX) as other:
        if kind == "live":
            other.bind(str(path))
            other.listen()
        elif kind == "folder":
            path.mkdir()
        elif kind == "link":
            path.symlink_to(folder / "nowhere")
        else:
            path.write_bytes(b"precious")
        before = path.lstat()

        why = "somebody seems to listen there" if kind == "live" else "what is there is no socket"
        assert f"Address already in use ({why}" in _listen(vm_served, path)

        after = path.lstat()
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
        assert _listen(vm_served, folder / "free") == "ok"


def test_a_dead_socket_is_replaced(vm_served: qmpd.Machine, folder: Path) -> None:
    path = folder / "place"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    assert _listen(vm_served, path) == "ok"

    assert path.lstat().st_mode & 0o777 == 0o600
    vm_served.cmd("nbd-server-stop")
    assert not path.exists()


def test_what_is_removed_is_what_was_made(vm_served: qmpd.Machine, folder: Path) -> None:
    path = folder / "place"
    assert _listen(vm_served, path) == "ok"
    path.unlink()
    path.write_bytes(b"precious")

    vm_served.cmd("nbd-server-stop")

    assert path.read_bytes() == b"precious"


def test_sockets_where_they_are_allowed(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / "out" / "sock"))
        other.listen()
        with qmpd.Machine(disks={"d": "1M"}, allow_sockets=[folder / "in"]) as vm, vm.serve():
            tcp = {"type": "inet", "data": {"host": "127.0.0.1", "port": "0"}}
            abstract = {"type": "unix", "data": {"path": "qmpd-e", "abstract": True}}
            for name in ("out/new", "in/../out/new", "in/folder/new", "out/image", "out/nope/x"):
                assert "--allow-sockets" in _listen(vm, folder / name)
            for addr in (tcp, abstract):
                assert "--allow-sockets" in said(vm, "nbd-server-start", addr=addr)
            for server in (
                {"type": "unix", "path": str(folder / "out" / "sock")},
                {"type": "unix", "path": str(folder / "out" / "nope")},
                {"type": "inet", "host": "127.0.0.1", "port": "1"},
            ):
                answer = said(vm, "blockdev-add", driver="nbd", node_name="n", server=server)
                assert "--allow-sockets" in answer
            udp = {"type": "udp", "data": {"remote": tcp}}
            chardev = {"type": "socket", "data": {"addr": tcp, "wait": False}}
            for backend in (udp, chardev):
                assert "--allow-sockets" in said(vm, "chardev-add", id="c", backend=backend)
            for uri in ("tcp:127.0.0.1:1", f"unix:{folder}/out/sock"):
                said(vm, "migrate", uri=uri)
                assert vm.cmd("query-migrate")["status"] == "failed"
            assert _listen(vm, folder / "in" / "sock") == "ok"
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()


def test_nobody_takes_the_descriptors_of_others(vm_served: qmpd.Machine) -> None:
    """A number is what a descriptor is called that may be anybody's connection."""
    mine, other = socket.socketpair()
    with mine, other:
        address = {"type": "fd", "data": {"str": str(other.fileno())}}
        for options in ({"server": False}, {"server": False, "reconnect-ms": 1}):
            backend = {"type": "socket", "data": {"addr": address, **options}}
            said(vm_served, "chardev-add", id="c", backend=backend)
        said(vm_served, "nbd-server-start", addr=address)
        said(vm_served, "migrate", uri=f"fd:{other.fileno()}")
        server = {"type": "fd", "str": str(other.fileno())}
        said(vm_served, "blockdev-add", driver="nbd", node_name="n", server=server)
        said(vm_served, "chardev-remove", id="c")
        other.sendall(b"mine")
        mine.settimeout(10)
        assert mine.recv(100) == b"mine"


def test_a_machine_that_is_served_is_its_owners(folder: Path) -> None:
    paths = [folder / "qmp", folder / "control"]
    with qmpd.Machine() as vm:
        with vm.serve(paths[0], control=paths[1]):
            assert [path.lstat().st_mode & 0o777 for path in paths] == [0o600, 0o600]
            with RemoteMachine(str(paths[0])) as client:
                backend = {"addr": {"type": "unix", "data": {"path": str(folder / "c")}}}
                backend["wait"] = False  # type: ignore[assignment]
                client.cmd("chardev-add", id="c", backend={"type": "socket", "data": backend})
                assert (folder / "c").lstat().st_mode & 0o777 == 0o600
        assert not any(path.exists() for path in (*paths, folder / "c"))
        for path in paths:
            path.write_bytes(b"precious")
        with pytest.raises(QmpError, match="Address already in use"), vm.serve(paths[0]):
            pass
        with (
            pytest.raises(QmpError, match="Address already in use"),
            vm.serve(folder / "other", control=paths[1]),
        ):
            pass
    assert [path.read_bytes() for path in paths] == [b"precious"] * 2
