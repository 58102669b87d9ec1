"""The NBD server with QEMU's own programs as clients; the same of qmpd and of QEMU's daemon."""

from __future__ import annotations

import json
import re
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import qemu_missing, qmpd_argv
from tests.support.stdio import StdioProgram

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-nbd") is None, reason="qemu-nbd is not installed"
)
SIZE = 4 << 20
ARGV = ["qemu-storage-daemon", "--chardev", "stdio,id=c", "--monitor", "chardev=c"]


class Exporter:
    """A storage daemon with a chain of two images, an NBD server, and clients."""

    def __init__(self, folder: Path, *, real: bool) -> None:
        self.folder = folder
        folder.mkdir()
        self.run("qemu-img create -q -f qcow2 base.qcow2 4M")
        self.run("qemu-io -c 'write -q -P 7 0 1M' base.qcow2")
        self.run("qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2")
        self.run("qemu-io -c 'write -q -P 9 512k 256k' -c 'write -q -z 2M 64k' top.qcow2")
        self.program = StdioProgram(ARGV if real else qmpd_argv(ARGV), folder)
        self.program.message()
        self.do("qmp_capabilities")
        file = {"driver": "file", "filename": f"{folder}/top.qcow2"}
        self.do("blockdev-add", driver="qcow2", node_name="top", file=file)

    def do(self, command: str, **arguments: Any) -> Any:
        """Run a command; its value, or the error's text."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        answer = self.program.execute({"execute": command, "arguments": named})[-1]
        return answer["return"] if "return" in answer else answer["error"]["desc"]

    def serve(self, **options: Any) -> Any:
        """Start the server."""
        address = {"type": "unix", "data": {"path": f"{self.folder}/nbd.sock"}}
        return self.do("nbd-server-start", addr=address, **options)

    def export(self, name: str, **options: Any) -> Any:
        """Export the top image."""
        return self.do(
            "block-export-add", type="nbd", id=name, name=name, node_name="top", **options
        )

    def run(self, command: str) -> str:
        """What a command prints, errors too, without what differs from run to run."""
        done = subprocess.run(
            command, shell=True, cwd=self.folder, capture_output=True, text=True, timeout=60
        )
        text = (done.stdout + done.stderr).replace(str(self.folder), "@")
        text = re.sub(r"(\d+ ops; ).*", r"\1", text)
        return f"{text}status {done.returncode}"

    def io(self, name: str, *commands: str) -> str:
        """Have qemu-io work at an export."""
        words = " ".join(f"-c '{command}'" for command in commands)
        return self.run(f"qemu-io -f raw {words} 'nbd+unix:///{name}?socket=nbd.sock'")

    def map(self, name: str, context: str | None = None) -> Any:
        """What an export tells of its areas."""
        options = f"driver=nbd,export={name},server.type=unix,server.path=nbd.sock"
        if context is not None:
            options += f",x-dirty-bitmap={context}"
        text = self.run(f"qemu-img map --output=json --image-opts {options}")
        return json.loads(text.rpartition("status")[0])

    def close(self) -> None:
        """End the daemon."""
        self.program.close()


def both(folder: Path) -> Iterator[list[Exporter]]:
    """qmpd's daemon, and QEMU's where it is installed."""
    made = [Exporter(folder / "qmpd", real=False)]
    if qemu_missing() is None:
        made.append(Exporter(folder / "qemu", real=True))
    yield made
    for exporter in made:
        exporter.close()


@pytest.fixture
def exporters(tmp_path: Path) -> Iterator[list[Exporter]]:
    yield from both(tmp_path)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Exporter]]:
    """Both with a server and an export, for many clients one after the other."""
    for made in both(tmp_path_factory.mktemp("serving")):
        for exporter in made:
            exporter.serve()
            exporter.export("x", writable=True)
        yield made


def same(exporters: list[Exporter], what: Callable[[Exporter], Any]) -> Any:
    """Do the same with both; what comes of it is the same."""
    results = [what(exporter) for exporter in exporters]
    assert results[0] == results[-1]
    return results[0]


def test_what_clients_are_told(exporters: list[Exporter]) -> None:
    for exporter in exporters:
        bitmap = {"node": "top", "name": "b", "disabled": True}
        exporter.do("block-dirty-bitmap-add", **bitmap)
    same(exporters, lambda e: e.serve(max_connections=3))
    same(exporters, lambda e: e.export("ro", bitmaps=["b"], allocation_depth=True))
    same(exporters, lambda e: e.export("rw", writable=True, description="for people"))
    listed = same(exporters, lambda e: e.run("qemu-nbd --list -k $PWD/nbd.sock"))
    assert "for people" in listed
    same(exporters, lambda e: e.run("qemu-img info 'nbd+unix:///ro?socket=nbd.sock'"))


def test_reading_and_writing(exporters: list[Exporter]) -> None:
    same(exporters, lambda e: e.serve())
    same(exporters, lambda e: e.export("x", writable=True))
    commands = (
        *("read -P 7 0 512k", "read -P 9 512k 256k", "read -P 7 768k 256k", "read -P 0 1M 3M"),
        *("write -P 3 100k 5000", "read -P 3 100k 5000", "write -z -u 0 64k", "read -P 0 0 64k"),
        *("write -f -P 4 3M 512", "discard 512k 128k", "flush", "write -z -n 1M 1M", "length"),
        *("read 4M 512", "write 4194000 512", "read -P 1 0 512", "map"),
    )
    told = same(exporters, lambda e: e.io("x", *commands))
    assert "Pattern verification failed at offset 0" in told
    same(exporters, lambda e: e.map("x"))
    assert same(exporters, lambda e: e.do("nbd-server-stop")) == {}
    for exporter in exporters:
        exporter.do("quit")
        exporter.program.process.wait(10)
    same(exporters, lambda e: e.run("qemu-img check top.qcow2 | head -1"))
    same(exporters, lambda e: e.run("qemu-img convert -O raw top.qcow2 - | sha256sum"))


def test_a_read_only_export(exporters: list[Exporter]) -> None:
    same(exporters, lambda e: e.serve())
    same(exporters, lambda e: e.export("x"))
    same(exporters, lambda e: e.io("x", "write 0 512"))
    same(exporters, lambda e: e.io("nope", "read 0 512"))
    same(
        exporters,
        lambda e: e.run("qemu-io -r -f raw -c 'read -P 7 0 64k' 'nbd+unix:///x?socket=nbd.sock'"),
    )


def test_metadata(exporters: list[Exporter]) -> None:
    for exporter in exporters:
        exporter.do("block-dirty-bitmap-add", node="top", name="b")
        exporter.serve()
        exporter.export("w", writable=True)
        exporter.io("w", "write -q 100k 1000", "write -q 1M 128k")
        exporter.do("block-dirty-bitmap-disable", node="top", name="b")
    same(exporters, lambda e: e.export("m", bitmaps=["b"], allocation_depth=True))
    dirty = same(exporters, lambda e: e.map("m", "qemu:dirty-bitmap:b"))
    assert [(area["start"], area["length"]) for area in dirty if not area["data"]] == [
        (65536, 65536),
        (1 << 20, 131072),
    ]
    same(exporters, lambda e: e.map("m", "qemu:allocation-depth"))
    same(exporters, lambda e: e.map("m"))


def test_a_client_holds_its_export(exporters: list[Exporter]) -> None:
    clients = []
    for exporter in exporters:
        exporter.serve()
        exporter.export("x")
        clients.append(connect(exporter, "x"))
    said = same(exporters, lambda e: e.do("block-export-del", id="x"))
    assert said == "export 'x' still in use"
    assert same(exporters, lambda e: e.do("block-export-del", id="x", mode="hard")) == {}
    for client in clients:
        assert client.recv(1) == b""
        client.close()
    same(exporters, lambda e: e.do("query-block-exports"))
    same(exporters, lambda e: e.do("blockdev-del", node_name="top"))


def connect(exporter: Exporter, name: str) -> socket.socket:
    """A client past its handshake, by hand."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(str(exporter.folder / "nbd.sock"))
    greeting = client.recv(18, socket.MSG_WAITALL)
    assert greeting == b"NBDMAGICIHAVEOPT\0\3"
    option = name.encode()
    client.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 1, len(option)) + option)
    client.recv(10, socket.MSG_WAITALL)
    return client


def test_many_clients_at_once(exporters: list[Exporter]) -> None:
    same(exporters, lambda e: e.serve(max_connections=0))
    same(exporters, lambda e: e.export("x", writable=True))
    parts = " & ".join(
        f"qemu-io -f raw -c 'write -q -P {n} {n * 256}k 256k' 'nbd+unix:///x?socket=nbd.sock'"
        for n in range(1, 9)
    )
    same(exporters, lambda e: e.run(f"{parts} & wait"))
    same(exporters, lambda e: e.io("x", *(f"read -P {n} {n * 256}k 256k" for n in range(1, 9))))


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0" * 4,
        b"\xff" * 40,
        struct.pack(">I8sII", 3, b"IHAVEOPT", 7, 5) + b"short",
        struct.pack(">I8sII", 3, b"IHAVEOPT", 7, 0xFFFFFFFF),
        struct.pack(">I8sII", 3, b"IHAVEOPT", 99, 3) + b"abc",
        struct.pack(">I8sII", 3, b"IHAVEOPT", 10, 8) + bytes(8),
        struct.pack(">I8sII", 3, b"IHAVEOPT", 8, 1) + b"x",
        struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 1) + b"x" + b"\0" * 28,
        struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 1)
        + b"x"
        + struct.pack(">IHHQQI", 0x25609513, 0, 77, 1, 0, 512),
        struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 1)
        + b"x"
        + struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, 1 << 60, 512),
    ],
)
def test_broken_clients(exporters: list[Exporter], garbage: bytes) -> None:
    for exporter in exporters:
        exporter.serve()
        exporter.export("x")

    def answer(exporter: Exporter) -> bytes:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        client.connect(str(exporter.folder / "nbd.sock"))
        client.sendall(garbage)
        client.shutdown(socket.SHUT_WR)
        told = b""
        try:
            while part := client.recv(65536):
                told += part
        except ConnectionResetError:
            pass
        client.close()
        # Texts for people may differ; what is told to the program may not.
        return told[: 18 + 20]

    same(exporters, answer)
    same(exporters, lambda e: e.io("x", "read -q 0 512"))


def option(number: int, data: bytes = b"") -> bytes:
    return struct.pack(">8sII", b"IHAVEOPT", number, len(data)) + data


def request(
    kind: int, cookie: int, offset: int, length: int, flags: int = 0, payload: bytes = b""
) -> bytes:
    """A request with extended headers."""
    return struct.pack(">IHHQQQ", 0x21E41C71, flags, kind, cookie, offset, length) + payload


def _is_whole(told: bytes) -> bool:
    """Whether the handshake's replies have come, and one to a request with its last chunk."""
    while told[:8] == struct.pack(">Q", 0x3E889045565A9) and len(told) >= 20:
        told = told[20 + struct.unpack(">I", told[16:20])[0] :]
    while len(told) >= 32:
        _, flags, _, _, _, length = struct.unpack(">IHHQQQ", told[:32])
        if flags & 1:
            return len(told) >= 32 + int(length)
        told = told[32 + length :]
    return False


CONTEXT = b"\0\0\0\1x" + struct.pack(">II", 1, 15) + b"base:allocation"
REQUESTS = (
    *(request(0, 1, 0, 16), request(0, 2, 1 << 22, 16), request(7, 3, 0, 1 << 22)),
    *(request(7, 4, 0, 1 << 22, 8), request(1, 5, 0, 4, 32, b"abcd"), request(3, 8, 0, 0)),
    *(request(6, 7, 1 << 20, 65536), request(5, 9, 0, 512), request(4, 10, 1 << 20, 65536)),
    *(request(0, 11, 0, 4, 32, b"xxxx"), request(3, 12, 0, 0, 64), request(0, 22, 0, 0)),
    request(7, 13, 0, 16, 32, struct.pack(">QII", 1 << 20, 0, 0)),
    request(7, 14, 0, 12, 32, struct.pack(">QI", 1 << 20, 0)),
    request(7, 15, 0, 12, 32, struct.pack(">QI", 1 << 20, 7)),
    *(request(3, 20, 0, 4, 32, b"zzzz"), request(99, 23, 0, 0), request(0, 24, 0, 40 << 20)),
    *(request(1, 25, 1 << 22, 4, 32, b"abcd"), request(6, 26, 0, 1 << 33)),
)


@pytest.mark.parametrize("asked", REQUESTS, ids=lambda asked: f"cookie{asked[15]}")
def test_extended_headers(serving: list[Exporter], asked: bytes) -> None:
    go = option(11) + option(10, CONTEXT) + option(7, b"\0\0\0\1x\0\0")

    def answer(exporter: Exporter) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(exporter.folder / "nbd.sock"))
            client.sendall(struct.pack(">I", 3) + go + asked)
            greeting, told = client.recv(18, socket.MSG_WAITALL), b""
            while not _is_whole(told):
                told += client.recv(65536)
        return greeting + told

    same(serving, answer)
