"""Character devices that commands make, change and remove."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

import qmpd
from qmpd.errors import GenericError
from tests.block.files import both_programs
from tests.doors.conftest import Door


def added(vm: Door, label: str, kind: str, **data: Any) -> str | None:
    """Make one; returns why that fails, None where it does not."""
    names = {name.replace("_", "-"): value for name, value in data.items()}
    backend = {"type": kind, "data": names}
    answer = vm.qmp("chardev-add", {"id": label, "backend": backend})
    return str(answer["error"]["desc"]) if "error" in answer else None


def refused(vm: Door, command: str, **arguments: Any) -> str:
    with pytest.raises(GenericError) as caught:
        vm.cmd(command, {name.replace("_", "-"): value for name, value in arguments.items()})
    return caught.value.desc


def listed(vm: Door) -> dict[str, str]:
    """The file names of the test's own devices, in the order of query-chardev."""
    infos = vm.cmd("query-chardev")
    return {info["label"]: info["filename"] for info in infos if not info["frontend-open"]}


def unix(path: Path | str, **more: Any) -> dict[str, Any]:
    return {"type": "unix", "data": {"path": str(path), **more}}


def inet(host: str, port: str) -> dict[str, Any]:
    return {"type": "inet", "data": {"host": host, "port": port}}


def test_ring_buffers(vm: Door) -> None:
    assert added(vm, "r", "ringbuf", size=16) is None
    vm.cmd("ringbuf-write", device="r", data="0123456789abcdefXYZ")
    assert vm.cmd("ringbuf-read", device="r", size=3) == "345"
    assert vm.cmd("ringbuf-read", device="r", size=3, format="base64") == "Njc4"
    assert vm.cmd("ringbuf-read", device="r", size=100) == "9abcdefXYZ"
    assert vm.cmd("ringbuf-read", device="r", size=100) == ""
    for text, meant in (
        ("aGVsbG8=", "hello"),
        ("aGVsbG8", "hel"),
        ("", ""),
        ("aGVs\nbG8=", "hello"),
    ):
        vm.cmd("ringbuf-write", device="r", data=text, format="base64")
        assert vm.cmd("ringbuf-read", device="r", size=100) == meant
    wrong = "Base64 data contains invalid characters"
    assert refused(vm, "ringbuf-write", device="r", data="!!", format="base64") == wrong
    vm.cmd("ringbuf-write", device="r", data="/wD/", format="base64")
    assert vm.cmd("ringbuf-read", device="r", size=1) == "\ufffd"
    assert vm.cmd("ringbuf-read", device="r", size=1) == ""
    vm.cmd("ringbuf-write", device="r", data="\u00e9\u4e2d\0x")
    assert vm.cmd("ringbuf-read", device="r", size=100) == "\ufffd\u00e9\u4e2d\0x"


def test_what_is_no_ring_buffer(vm: Door) -> None:
    assert added(vm, "n", "null") is None
    assert added(vm, "m", "memory", size=1) is None
    wrong = "Failed to add chardev 'w': size of ringbuf chardev must be power of two"
    assert added(vm, "w", "ringbuf", size=1000) == wrong
    assert added(vm, "w", "ringbuf", size=-1) == wrong
    for command, more in (("ringbuf-read", {"size": 1}), ("ringbuf-write", {"data": "a"})):
        assert refused(vm, command, device="nope", **more) == "Device 'nope' not found"
        assert refused(vm, command, device="n", **more) == "n is not a ringbuf device"
    for size in (0, -1):
        wrong = "size must be greater than zero"
        assert refused(vm, "ringbuf-read", device="m", size=size) == wrong


def test_making_and_removing(vm: Door) -> None:
    labels = [f"c{number}" for number in range(12)]
    for label in labels:
        assert added(vm, label, "null") is None
    assert added(vm, "c3", "null") == "Chardev with id 'c3' already exists"
    assert sorted(listed(vm)) == sorted(labels)
    for label in labels[2:]:
        vm.cmd("chardev-send-break", id=label)
        vm.cmd("chardev-remove", id=label)
    assert sorted(listed(vm)) == ["c0", "c1"]
    for command in ("chardev-remove", "chardev-send-break"):
        assert refused(vm, command, id="nope") == "Chardev 'nope' not found"
    for strange in ("", "a b", "1x", "a/b"):
        assert added(vm, strange, "null") is None
        vm.cmd("chardev-remove", id=strange)


def test_the_order_is_that_of_qemu(tmp_path: Path) -> None:
    null = {"type": "null", "data": {}}
    with both_programs(tmp_path) as both:
        for number in range(20):
            both.execute("chardev-add", id=f"c{number}", backend=null)
            both.execute("query-chardev")
        for number in range(0, 20, 3):
            both.execute("chardev-remove", id=f"c{number}")
            both.execute("query-chardev")
        both.execute("human-monitor-command", **{"command-line": "info chardev"})
        both.execute("query-yank")


def test_changing(vm: Door) -> None:
    null = {"type": "null", "data": {}}
    assert refused(vm, "chardev-change", id="a", backend=null) == "Chardev 'a' does not exist"
    assert added(vm, "a", "null") is None
    ring = {"type": "ringbuf", "data": {}}
    assert vm.cmd("chardev-change", id="a", backend=ring) == {}
    vm.cmd("ringbuf-write", device="a", data="x")
    nowhere = {"type": "file", "data": {"out": "/nonexistent/x"}}
    wrong = "Failed to add chardev 'a': Could not open '/nonexistent/x': No such file or directory"
    assert refused(vm, "chardev-change", id="a", backend=nowhere) == wrong
    # what was there has gone by then
    assert refused(vm, "chardev-change", id="a", backend=ring) == "Chardev 'a' does not exist"


def test_shared_devices(vm: Door) -> None:
    for label in ("a", "b"):
        assert added(vm, label, "null") is None
    wrong = "Failed to add chardev 'm': mux: base chardev nope not found"
    assert added(vm, "m", "mux", chardev="nope") == wrong
    assert added(vm, "m", "mux", chardev="a") is None
    wrong = "Failed to add chardev 'm2': chardev 'a' is already in use"
    assert added(vm, "m2", "mux", chardev="a") == wrong
    begin = "Failed to add chardev 'h': hub: "
    assert added(vm, "h", "hub", chardevs=[]) == f"{begin}'chardevs' list is not defined"
    assert added(vm, "h", "hub", chardevs=["x"]) == f"{begin}chardev can't be found by id 'x'"
    stacked = added(vm, "h", "hub", chardevs=["m"])
    assert stacked is not None
    assert "multiplexers and hub devices can't be stacked" in stacked
    assert added(vm, "h", "hub", chardevs=["b"]) is None
    assert listed(vm) == {"a": "null", "b": "null", "m": "mux", "h": "hub"}
    for label in ("a", "b"):
        assert refused(vm, "chardev-remove", id=label) == f"Chardev '{label}' is busy"
    for label in ("m", "h"):
        wrong = "For mux or hub device hotswap is not supported yet"
        null = {"type": "null", "data": {}}
        assert refused(vm, "chardev-change", id=label, backend=null) == wrong
        vm.cmd("chardev-remove", id=label)
    for label in ("a", "b"):
        vm.cmd("chardev-remove", id=label)


def test_files(vm: Door, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "x"
    assert added(vm, "f", "file", out=str(tmp_path / "out")) is None
    wrong = f"Failed to add chardev 'g': Could not open '{nowhere}': No such file or directory"
    assert added(vm, "g", "file", out=str(nowhere)) == wrong
    log = tmp_path / "log"
    wrong = wrong.replace("not open", "not create")
    assert added(vm, "g", "null", logfile=str(nowhere)) == wrong
    assert added(vm, "g", "null", logfile=str(log)) is None
    assert log.read_bytes() == b""
    assert listed(vm) == {"f": "file", "g": "null"}


def test_what_there_is(vm: Door) -> None:
    names = [info["name"] for info in vm.cmd("query-chardev-backends")]
    assert names[0] == "testdev"
    assert names[-1] == "stdio"
    assert len(names) == 18
    wrong = "Failed to add chardev 's': 'spicevmc' is not a valid char driver name"
    assert added(vm, "s", "spicevmc", type="vdagent") == wrong


def test_the_human_monitor(vm: Door) -> None:
    def said(line: str) -> str:
        return vm.hmp(line).replace("\r\n", "\n")

    assert said("chardev-add ringbuf,id=r,size=1k") == ""
    assert said("ringbuf_write r hello") == ""
    assert said("ringbuf_read r 3") == "hel\n"
    assert said('ringbuf_write r "\\\\\\n\x01"') == ""
    assert said("ringbuf_read r 100") == "lo\\\\\n\\u0001\n"
    assert said("ringbuf_read r 0") == "Error: size must be greater than zero\n"
    assert "r: filename=ringbuf\n" in said("info chardev")
    for line, wrong in (
        ("null", "chardev: no id specified"),
        ("id=a", 'chardev: "a" missing backend'),
        ("nope,id=a", "'nope' is not a valid char driver name"),
        ("null,id=r", "attempt to add duplicate property 'r' to object (type 'container')"),
        ("file,id=a", "chardev: file: no filename given"),
        ("pipe,id=a", "chardev: pipe: no device path given"),
        ("mux,id=a", "chardev: mux: no chardev given"),
        ("udp,id=a", "chardev: udp: remote port not specified"),
        ("socket,id=a,host=b", "chardev: socket: no port given"),
        ("ringbuf,id=a,size=3", "size of ringbuf chardev must be power of two"),
    ):
        assert said(f"chardev-add {line}") == f"Error: {wrong}\n"
    assert said("chardev-add null,foo=1,id=x") == (
        "Invalid parameter 'foo'\nError: Parsing chardev args failed\n"
    )
    assert said("chardev-change r null,id=x") == "Error: Unexpected 'id' parameter\n"
    assert said("chardev-change r memory") == ""
    assert said("chardev-add null,id=x,mux=on") == ""
    assert listed(vm) == {"r": "ringbuf", "x": "mux", "x-base": "null"}
    assert said("chardev-remove x-base") == "Error: Chardev 'x-base' is busy\n"
    for label in ("x", "x-base", "r"):
        assert said(f"chardev-send-break {label}") == ""
        assert said(f"chardev-remove {label}") == ""
    assert listed(vm) == {}


def test_sockets(vm: Door, tmp_path: Path) -> None:
    if isinstance(vm, qmpd.Machine):
        backend = {"type": "socket", "data": {"addr": unix(tmp_path / "s")}}
        with pytest.raises(GenericError, match="no event loop"):
            vm.cmd("chardev-add", id="s", backend=backend)
        return
    path = tmp_path / "s"
    assert added(vm, "s", "socket", addr=unix(path)) is None
    name = {"s": f"disconnected:unix:{path},server=on"}
    assert listed(vm) == name
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        while listed(vm) == name:
            pass
        assert listed(vm) == {"s": f"unix:{path},server=on"}
        yank = [{"type": "chardev", "id": "s"}]
        assert yank[0] in vm.cmd("query-yank")
        vm.cmd("yank", instances=yank)
        assert client.recv(1) == b""
    vm.cmd("chardev-remove", id="s")
    assert not path.exists()
    for kind, wrong, data in (
        (
            "unix",
            "'reconnect' option is incompatible with socket in server listen mode",
            {"reconnect": 1},
        ),
        (
            "unix",
            "'wait' option is incompatible with socket in client connect mode",
            {"server": False, "wait": False},
        ),
        ("unix", "Websocket client is not implemented", {"server": False, "websocket": True}),
        ("unix", "No TLS credentials with id 't'", {"tls-creds": "t"}),
        ("unix", "'tls_authz' option requires 'tls_creds' option", {"tls-authz": "t"}),
        (
            "unix",
            "'reconnect' and 'reconnect-ms' are mutually exclusive",
            {"server": False, "reconnect": 1, "reconnect-ms": 1},
        ),
        ("fd", "File descriptor named 'foo' has not been found", {}),
        (
            "fd",
            "'reconnect' option is incompatible with 'fd' address type",
            {"server": False, "reconnect": 1},
        ),
    ):
        addr = unix(path) if kind == "unix" else {"type": "fd", "data": {"str": "foo"}}
        assert added(vm, "w", "socket", addr=addr, **data) == f"Failed to add chardev 'w': {wrong}"
    assert added(vm, "t", "socket", addr=inet("127.0.0.1", "0")) is None
    assert re.fullmatch(r"disconnected:tcp:127\.0\.0\.1:\d+,server=on", listed(vm)["t"])
    assert listed(vm)["t"] != "disconnected:tcp:127.0.0.1:0,server=on"
    wrong = "Failed to add chardev 'u': socket type unsupported for datagram"
    assert added(vm, "u", "udp", remote=unix("x")) == wrong
    assert added(vm, "u", "udp", remote=inet("127.0.0.1", "9")) is None
    assert listed(vm)["u"] == "udp"


def test_sockets_that_are_handed_over(vm: Door, tmp_path: Path) -> None:
    if isinstance(vm, qmpd.Machine):
        return  # see above
    path = str(tmp_path / "s")
    addr = {"type": "fd", "data": {"str": "listener"}}
    with open(os.devnull, "rb") as nothing:
        vm.send_fd_scm(nothing.fileno())
    vm.cmd("getfd", fdname="listener")
    wrong = "Failed to add chardev 's': File descriptor 'listener' is not a socket"
    assert added(vm, "s", "socket", addr=addr) == wrong
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        vm.send_fd_scm(listener.fileno())
        vm.cmd("getfd", fdname="listener")
    assert added(vm, "s", "socket", addr=addr) is None
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    near, far = socket.socketpair()
    with near, far:
        vm.send_fd_scm(far.fileno())
        vm.cmd("getfd", fdname="connected")
        addr = {"type": "fd", "data": {"str": "connected"}}
        far.close()
        assert added(vm, "c", "socket", addr=addr, server=False) is None
        vm.cmd("chardev-remove", id="c")
        assert near.recv(1) == b""


def test_terminals_and_pipes(vm: Door, tmp_path: Path) -> None:
    if isinstance(vm, qmpd.Machine):
        return  # see above
    link = tmp_path / "link"
    backend = {"type": "pty", "data": {"path": str(link)}}
    returned = vm.cmd("chardev-add", id="p", backend=backend)
    assert os.readlink(link) == returned["pty"]
    assert listed(vm)["p"] == f"pty:{returned['pty']}"
    wrong = "Failed to add chardev 'q': Failed to create PTY symlink: File exists"
    assert added(vm, "q", "pty", path=str(link)) == wrong
    vm.cmd("chardev-remove", id="p")
    assert not link.is_symlink()
    pipe = tmp_path / "pipe"
    wrong = f"Failed to add chardev 'f': Could not open '{pipe}': No such file or directory"
    assert added(vm, "f", "pipe", device=str(pipe)) == wrong
    os.mkfifo(f"{pipe}.in")
    assert added(vm, "f", "pipe", device=str(pipe)) == wrong
    os.mkfifo(f"{pipe}.out")
    assert added(vm, "f", "pipe", device=str(pipe)) is None
    assert listed(vm)["f"] == "pipe"
    vm.cmd("chardev-remove", id="f")


@pytest.mark.parametrize("kind", ["serial", "parallel", "testdev", "msmouse", "wctablet"])
def test_backends_that_are_not_served_say_so(kind: str) -> None:
    data = {"device": "/dev/null"} if kind in ("serial", "parallel") else {}
    with qmpd.Machine() as vm, pytest.raises(GenericError, match=f"chardev backend '{kind}'"):
        vm.cmd("chardev-add", id="a", backend={"type": kind, "data": data})
