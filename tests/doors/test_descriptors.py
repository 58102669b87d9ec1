"""Descriptors that a client hands over: named ones, sets of them, and files in sets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import pytest

import qmpd
from qmpd.errors import GenericError, QmpError
from tests.doors.conftest import Door


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.raw"
    path.touch()
    os.truncate(path, 1 << 20)
    return path


def refused(vm: Door, command: str, arguments: dict[str, Any] | None = None) -> str:
    """Why a command fails."""
    with pytest.raises(GenericError) as caught:
        vm.cmd(command, arguments or {})
    return caught.value.desc


def hand(vm: Door, path: Path, flags: int, command: str, arguments: dict[str, Any]) -> Any:
    """Hand over a descriptor of a file with a command that takes one."""
    with opened(path, flags) as fd:
        vm.send_fd_scm(fd)
    return vm.cmd(command, arguments)


def sets_of(vm: Door) -> dict[int, list[str | None]]:
    """What is in the sets: the client's words for each descriptor."""
    return {
        info["fdset-id"]: [fd.get("opaque") for fd in info["fds"]]
        for info in vm.cmd("query-fdsets")
    }


def test_nothing_was_handed_over(vm: Door) -> None:
    missing = "No file descriptor supplied via SCM_RIGHTS"
    assert refused(vm, "getfd", {"fdname": "a"}) == missing
    assert refused(vm, "getfd", {"fdname": "9a"}) == missing
    assert refused(vm, "add-fd") == missing
    assert refused(vm, "add-fd", {"fdset-id": -1}) == missing


def test_named_descriptors(vm: Door, image: Path) -> None:
    for _ in range(2):
        hand(vm, image, os.O_RDWR, "getfd", {"fdname": "a"})
    with opened(image, os.O_RDONLY) as fd:
        vm.send_fd_scm(fd)
    expected = "Parameter 'fdname' expects a name not starting with a digit"
    assert refused(vm, "getfd", {"fdname": "9a"}) == expected
    # that one is gone
    assert "SCM_RIGHTS" in refused(vm, "getfd", {"fdname": "b"})
    vm.cmd("closefd", {"fdname": "a"})
    gone = "File descriptor named 'a' not found"
    assert refused(vm, "closefd", {"fdname": "a"}) == gone
    hand(vm, image, os.O_RDWR, "getfd", {"fdname": ""})
    vm.cmd("closefd", {"fdname": ""})


def test_the_human_monitor_behind_qmp_has_no_descriptors(vm: Door, image: Path) -> None:
    hand(vm, image, os.O_RDWR, "getfd", {"fdname": "a"})
    with opened(image, os.O_RDONLY) as fd:
        vm.send_fd_scm(fd)
    missing = "Error: No file descriptor supplied via SCM_RIGHTS"
    assert vm.hmp("getfd b").strip() == missing
    assert vm.hmp("closefd a").strip() == "Error: File descriptor named 'a' not found"
    vm.cmd("getfd", {"fdname": "b"})
    assert "string expected" in vm.hmp("getfd")


def test_sets(vm: Door, image: Path) -> None:
    numbers = [
        hand(vm, image, os.O_RDONLY, "add-fd", arguments)["fdset-id"]
        for arguments in (
            {"fdset-id": 5, "opaque": "first"},
            {"fdset-id": 3},
            {},
            {"fdset-id": 1},
            {},
            {"fdset-id": 5, "opaque": "second"},
        )
    ]
    assert numbers == [5, 3, 0, 1, 2, 5]
    found = sets_of(vm)
    assert found == {5: ["first", "second"], 3: [None], 2: [None], 1: [None], 0: [None]}
    assert list(found) == [5, 3, 2, 1, 0]
    with opened(image, os.O_RDONLY) as fd:
        vm.send_fd_scm(fd)
    expected = "Parameter 'fdset-id' expects a non-negative value"
    assert refused(vm, "add-fd", {"fdset-id": -1}) == expected
    expected = "File descriptor named 'fdset-id:3, fd:-1' not found"
    assert refused(vm, "remove-fd", {"fdset-id": 3, "fd": -1}) == expected
    expected = "File descriptor named 'fdset-id:9' not found"
    assert refused(vm, "remove-fd", {"fdset-id": 9}) == expected
    first = vm.cmd("query-fdsets")[0]["fds"][0]["fd"]
    vm.cmd("remove-fd", {"fdset-id": 5, "fd": first})
    assert sets_of(vm)[5] == ["second"]
    for number in (5, 3, 2, 1, 0):
        vm.cmd("remove-fd", {"fdset-id": number})
    assert vm.cmd("query-fdsets") == []


def test_a_set_stays_as_long_as_a_node_works_on_it(vm: Door, image: Path) -> None:
    hand(vm, image, os.O_RDWR, "add-fd", {"fdset-id": 1})
    file = {"driver": "file", "filename": "/dev/fdset/1"}
    vm.cmd("blockdev-add", {"driver": "raw", "node-name": "disk", "file": file})
    vm.cmd("remove-fd", {"fdset-id": 1})
    assert sets_of(vm) == {1: []}
    vm.cmd("remove-fd", {"fdset-id": 1})
    assert vm.hmp('qemu-io disk "write -q -P 7 0 64k"') == ""
    assert vm.hmp('qemu-io disk "flush"') == ""
    assert image.read_bytes()[: 1 << 16] == b"\7" * (1 << 16)
    (info,) = [node for node in vm.cmd("query-named-block-nodes") if node["node-name"] == "disk"]
    assert info["file"] == "/dev/fdset/1"
    hand(vm, image, os.O_RDONLY, "add-fd", {"fdset-id": 1, "opaque": "again"})
    assert sets_of(vm) == {1: ["again"]}
    vm.cmd("remove-fd", {"fdset-id": 1})
    vm.cmd("blockdev-del", {"node-name": "disk"})
    assert sets_of(vm) == {}


WRONG = {
    "9": "Failed to find fdset /dev/fdset/9",
    "x": "Could not parse fdset /dev/fdset/x",
    "": "Could not parse fdset /dev/fdset/",
    "-1": "Could not parse fdset /dev/fdset/-1",
    "1x": "Could not parse fdset /dev/fdset/1x",
    "0x1": "Could not parse fdset /dev/fdset/0x1",
    "2147483648": "Could not parse fdset /dev/fdset/2147483648",
    " 01": "Failed to find file descriptor with matching flags=0x2",
    "1": "Failed to find file descriptor with matching flags=0x2",
}
"""What is wrong with names, where set 1 has a descriptor to read from."""


CHARDEVS = {
    "file": ({"type": "file", "data": {"out": "/dev/fdset/1"}}, [os.O_WRONLY], True),
    "file with input": (
        {"type": "file", "data": {"out": "/dev/fdset/1", "in": "/dev/fdset/1"}},
        [os.O_WRONLY, os.O_RDONLY],
        True,
    ),
    "pipe": ({"type": "pipe", "data": {"device": "/dev/fdset/1"}}, [os.O_RDWR], True),
    # of the end of a log nobody is told
    "log": ({"type": "null", "data": {"logfile": "/dev/fdset/1"}}, [os.O_WRONLY], False),
}
"""Character devices, how their files are opened, and whether a set ends with them."""


@pytest.mark.parametrize("name", CHARDEVS)
def test_a_set_stays_as_long_as_a_character_device_works_on_it(
    name: str, served: Door, image: Path
) -> None:
    backend, opened_for, ends = CHARDEVS[name]
    for flags in opened_for:
        hand(served, image, flags, "add-fd", {"fdset-id": 1})
    served.cmd("chardev-add", {"id": "c", "backend": backend})
    served.cmd("remove-fd", {"fdset-id": 1})
    assert sets_of(served) == {1: []}
    served.cmd("chardev-remove", {"id": "c"})
    assert sets_of(served) == ({} if ends else {1: []})


NOWHERE = {"type": "unix", "data": {"path": "/nowhere/x"}}


@pytest.mark.parametrize(
    ("kind", "data", "ends"),
    [
        ("file", {"out": "/dev/fdset/1", "in": "/nowhere"}, True),
        ("socket", {"logfile": "/dev/fdset/1", "addr": NOWHERE}, False),
    ],
)
def test_a_set_and_a_character_device_that_is_not_made(
    kind: str, data: dict[str, Any], ends: bool, served: Door, image: Path
) -> None:
    hand(served, image, os.O_WRONLY, "add-fd", {"fdset-id": 1})
    refused(served, "chardev-add", {"id": "c", "backend": {"type": kind, "data": data}})
    served.cmd("remove-fd", {"fdset-id": 1})
    assert sets_of(served) == ({} if ends else {1: []})


def test_clients_that_come_some_other_way(served: Door, image: Path, tmp_path: Path) -> None:
    def add(protocol: str, sock: socket.socket) -> str | None:
        with sock:
            served.send_fd_scm(sock.fileno())
        served.cmd("getfd", {"fdname": "f"})
        try:
            served.cmd("add_client", {"protocol": protocol, "fdname": "f"})
        except QmpError as error:
            return error.desc
        finally:
            assert refused(served, "closefd", {"fdname": "f"}).endswith("'f' not found")
        return None

    def add_pair(protocol: str) -> tuple[str | None, socket.socket]:
        ours, theirs = socket.socketpair()
        ours.settimeout(20)
        return add(protocol, theirs), ours

    address = {"type": "unix", "data": {"path": str(tmp_path / "c")}}
    backend = {"type": "socket", "data": {"addr": address, "server": True, "wait": False}}
    served.cmd("chardev-add", {"id": "c", "backend": backend})
    served.cmd("chardev-add", {"id": "r", "backend": {"type": "ringbuf", "data": {}}})
    for protocol, why in (
        ("spice", "SPICE is not in use"),
        ("@dbus-display", "D-Bus display is not in use"),
        ("nosuch", "protocol 'nosuch' is invalid"),
        ("r", "failed to add client"),
    ):
        said, ours = add_pair(protocol)
        with ours:
            assert (said, ours.recv(1)) == (why, b"")
    said, first = add_pair("c")
    with first:
        assert said is None
        names = {each["label"]: each["filename"] for each in served.cmd("query-chardev")}
        assert names["c"] == "unix:,server=on"
        said, second = add_pair("c")
        with second:
            assert (said, second.recv(1)) == ("failed to add client", b"")
    said, vnc = add_pair("vnc")
    with vnc:
        # nobody serves it, nobody turns it away
        assert said is None
    hand(served, image, os.O_RDWR, "getfd", {"fdname": "f"})
    why = "parameter @fdname must name a socket"
    assert refused(served, "add_client", {"protocol": "vnc", "fdname": "f"}) == why


def test_names_and_flags(vm: Door, image: Path) -> None:
    hand(vm, image, os.O_RDONLY, "add-fd", {"fdset-id": 1})
    file = {"driver": "file", "node-name": "f"}
    for name, why in WRONG.items():
        assert refused(vm, "blockdev-add", {**file, "filename": f"/dev/fdset/{name}"}) == why
    file["filename"] = "/dev/fdset/1"
    direct = {**file, "read-only": True, "cache": {"direct": True}}
    why = "Failed to find file descriptor with matching flags=0x4000"
    assert refused(vm, "blockdev-add", direct) == why
    for how in ({"read-only": True}, {"auto-read-only": True}):
        vm.cmd("blockdev-add", {**file, **how})
        vm.cmd("blockdev-del", {"node-name": "f"})


def test_reopening_asks_for_another_descriptor(vm: Door, image: Path) -> None:
    hand(vm, image, os.O_RDONLY, "add-fd", {"fdset-id": 1})
    file = {"driver": "file", "node-name": "f", "filename": "/dev/fdset/1"}
    vm.cmd("blockdev-add", {**file, "auto-read-only": True})
    raw = {"driver": "raw", "node-name": "r", "file": "f"}
    why = "Failed to find file descriptor with matching flags=0x2"
    vm.cmd("blockdev-add", {**raw, "read-only": True})
    assert refused(vm, "blockdev-reopen", {"options": [{**file, "read-only": False}]}) == why
    hand(vm, image, os.O_RDWR, "add-fd", {"fdset-id": 1})
    vm.cmd("blockdev-reopen", {"options": [{**file, "read-only": False}, raw]})
    assert vm.hmp('qemu-io r "write -q -P 3 0 512"') == ""
    assert vm.hmp('qemu-io r "flush"') == ""
    assert image.read_bytes()[:512] == b"\3" * 512


def test_what_is_no_file(vm: Door, tmp_path: Path, image: Path) -> None:
    needed = "'file' driver requires '/dev/fdset/{}' to be a regular file"
    for number, path, flags, read_only in (
        (1, tmp_path, os.O_RDONLY, True),
        (2, Path(os.devnull), os.O_RDWR, False),
    ):
        hand(vm, path, flags, "add-fd", {"fdset-id": number})
        name = f"/dev/fdset/{number}"
        file = {"driver": "file", "node-name": "f", "filename": name, "read-only": read_only}
        why = refused(vm, "blockdev-add", file)
        assert why == needed.format(number)
        vm.cmd("remove-fd", {"fdset-id": number})
        assert number not in sets_of(vm)
    hand(vm, image, os.O_PATH, "add-fd", {"fdset-id": 3})
    file = {**file, "filename": "/dev/fdset/3", "read-only": True}
    assert refused(vm, "blockdev-add", file).startswith("Failed to dup() given file descriptor fd=")


def test_images_are_made_in_sets(vm: Door, image: Path) -> None:
    def made(number: int) -> str | None:
        file = {"driver": "file", "filename": f"/dev/fdset/{number}", "size": 4096}
        name = f"create{number}"
        vm.cmd("blockdev-create", {"job-id": name, "options": file})
        job = vm.job(name)
        assert job.wait() == "concluded"
        (info,) = vm.cmd("query-jobs")
        vm.cmd("job-dismiss", {"id": name})
        error: str | None = info.get("error")
        return error

    hand(vm, image, os.O_RDWR, "add-fd", {"fdset-id": 1})
    hand(vm, image, os.O_RDONLY, "add-fd", {"fdset-id": 2})
    assert made(1) is None
    assert image.stat().st_size == 4096
    assert made(2) == "Failed to find file descriptor with matching flags=0x42"
    assert made(3) == "Failed to find fdset /dev/fdset/3"


def test_the_nbd_server_takes_a_socket(vm: Door, image: Path, tmp_path: Path) -> None:
    address = {"type": "fd", "data": {"str": "listener"}}
    missing = "File descriptor named 'listener' has not been found"
    assert refused(vm, "nbd-server-start", {"addr": address}) == missing
    hand(vm, image, os.O_RDWR, "getfd", {"fdname": "listener"})
    no_socket = "File descriptor 'listener' is not a socket"
    if isinstance(vm, qmpd.Machine):
        return  # it needs an event loop to listen
    assert refused(vm, "nbd-server-start", {"addr": address}) == no_socket
    assert refused(vm, "nbd-server-start", {"addr": address}) == missing
    path = str(tmp_path / "nbd")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        vm.send_fd_scm(listener.fileno())
        vm.cmd("getfd", {"fdname": "listener"})
    vm.cmd("nbd-server-start", {"addr": address})
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        assert client.recv(8) == b"NBDMAGIC"
    again = "NBD server already running"
    assert refused(vm, "nbd-server-start", {"addr": address}) == again
    vm.cmd("nbd-server-stop")


@pytest.mark.parametrize("storage", ["memory", "overlay"])
def test_what_is_handed_over_is_used_in_every_storage(
    image: Path, storage: Literal["memory", "overlay"]
) -> None:
    """A client that hands over a file means that file, wherever others live."""
    with qmpd.Machine(storage=storage) as vm:
        hand(vm, image, os.O_RDWR, "add-fd", {"fdset-id": 1})
        file = {"driver": "file", "filename": "/dev/fdset/1"}
        vm.cmd("blockdev-add", {"driver": "raw", "node-name": "disk", "file": file})
        assert vm.hmp('qemu-io disk "write -q -P 5 0 4k"') == ""
        with pytest.raises(GenericError, match="remove-fd"):
            vm.checkpoint()
    assert image.read_bytes()[:4096] == b"\5" * 4096


def test_direct_descriptors_are_not_used_directly(image: Path) -> None:
    """QEMU matches O_DIRECT; our buffers are not aligned, so that the data goes another way."""
    with qmpd.Machine(storage="host") as vm:
        try:
            hand(vm, image, os.O_RDWR | os.O_DIRECT, "add-fd", {"fdset-id": 1})
        except OSError:
            pytest.skip("the file system of the temporary folder has no O_DIRECT")
        file = {"driver": "file", "node-name": "f", "filename": "/dev/fdset/1"}
        why = "Failed to find file descriptor with matching flags=0x2"
        assert refused(vm, "blockdev-add", file) == why
        vm.cmd("blockdev-add", {**file, "cache": {"direct": True}})
        assert vm.hmp('qemu-io f "write -q -P 5 512 512"') == ""
    assert image.read_bytes()[512:1024] == b"\5" * 512


def test_everything_is_closed_with_the_machine(image: Path) -> None:
    def descriptors() -> set[int]:
        found = set()
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                if os.path.samefile(f"/proc/self/fd/{name}", image):
                    found.add(int(name))
        return found

    with qmpd.Machine(storage="host") as vm:
        hand(vm, image, os.O_RDWR, "add-fd", {"fdset-id": 1})
        hand(vm, image, os.O_RDWR, "getfd", {"fdname": "a"})
        vm.cmd("blockdev-add", {"driver": "file", "node-name": "f", "filename": "/dev/fdset/1"})
        assert len(descriptors()) == 3
    assert descriptors() == set()
