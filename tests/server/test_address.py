"""Listening and connecting, with QEMU's texts."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from qmpd.errors import GenericError
from qmpd.server.address import (
    FdAddress,
    InetAddress,
    SocketAddress,
    UnixAddress,
    connect,
    is_listening,
)
from qmpd.server.listening import Listening, Manners

QEMUS = Manners(replaces_files=True, mode=None)


def listen(address: SocketAddress) -> list[socket.socket]:
    return Listening(address, QEMUS).sockets


def test_file_in_the_way_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("not a socket")
    listening = Listening(UnixAddress(str(path)), QEMUS)
    assert stat.S_ISSOCK(path.stat().st_mode)
    listening.close()
    assert not path.exists()


def test_directory_in_the_way_is_not(tmp_path: Path) -> None:
    with pytest.raises(GenericError, match=r"Failed to unlink socket .*: Is a directory"):
        listen(UnixAddress(str(tmp_path)))


def test_missing_directory(tmp_path: Path) -> None:
    path = tmp_path / "no" / "s"
    with pytest.raises(GenericError, match=f"Failed to bind socket to {path}: No such file"):
        listen(UnixAddress(str(path)))


@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o600), (None, 0o755), (0o660, 0o660)])
def test_mode(tmp_path: Path, mode: int | None, expected: int) -> None:
    before = os.umask(0o022)
    try:
        (sock,) = listen(UnixAddress(str(tmp_path / "s"), mode=mode))
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == expected
    sock.close()


def test_long_path() -> None:
    with pytest.raises(GenericError, match="is too long") as caught:
        listen(UnixAddress("/" + "x" * 107))
    assert caught.value.hint == "Path must be less than 108 bytes"


@pytest.mark.parametrize("tight", [True, False])
def test_abstract_name(tmp_path: Path, tight: bool) -> None:
    address = UnixAddress(str(tmp_path / "name"), abstract=True, tight=tight)
    (sock,) = listen(address)
    connect(address).close()
    assert not (tmp_path / "name").exists()
    sock.close()


def test_connecting_to_nobody(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(GenericError, match=f"Failed to connect to '{path}': No such file"):
        connect(UnixAddress(str(path)))


def test_empty_host_is_loopback() -> None:
    sockets = listen(InetAddress("", "0"))
    hosts = {sock.getsockname()[0] for sock in sockets}
    assert hosts <= {"127.0.0.1", "::1"}
    assert len({sock.getsockname()[1] for sock in sockets}) == 1
    for sock in sockets:
        sock.close()


def test_ports_up_to_the_last() -> None:
    (first,) = listen(InetAddress("127.0.0.1", "0"))
    port = first.getsockname()[1]
    with pytest.raises(GenericError, match="Failed to find an available port: Address already"):
        listen(InetAddress("127.0.0.1", str(port)))
    (second,) = listen(InetAddress("127.0.0.1", str(port), to=port + 20))
    assert port < second.getsockname()[1] <= port + 20
    first.close()
    second.close()


def test_unknown_port() -> None:
    with pytest.raises(GenericError, match=r"address resolution failed for 127.0.0.1:x: "):
        listen(InetAddress("127.0.0.1", "x"))


@pytest.mark.parametrize(
    ("fd", "text"),
    [
        ("", "Unable to parse FD number "),
        ("x", "Unable to parse FD number x"),
        ("987", "File descriptor '987' is not a socket"),
    ],
)
def test_wrong_descriptor(fd: str, text: str) -> None:
    with pytest.raises(GenericError) as caught:
        FdAddress(fd).take()
    assert caught.value.desc == text


def test_inherited_sockets_are_told_apart(tmp_path: Path) -> None:
    (listening,) = listen(UnixAddress(str(tmp_path / "s")))
    one, other = socket.socketpair()
    assert is_listening(FdAddress(str(listening.fileno())).take())
    assert not is_listening(one)
    with pytest.raises(GenericError, match="Failed to listen on fd socket: Invalid argument"):
        listen(FdAddress(str(one.detach())))
    listening.detach()
    other.close()
