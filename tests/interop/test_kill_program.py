"""A program that is killed while clients write by NBD and snapshots are taken by the monitor.

``QMPD_KILL_ROUNDS`` says how many are.  No image needs a repair afterwards, leaks apart, and
nothing is lost that was flushed.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.interop.bench import needs_qemu_img, qemu_img
from tests.support.programs import qmpd_argv
from tests.support.stdio import Gone, StdioProgram

ROUNDS = int(os.environ.get("QMPD_KILL_ROUNDS", "8"))
SIZE: Final = 8 << 20
BLOCK: Final = 4096
BLOCKS: Final = 512
"""Those of the NBD client, at the disk's start."""

LEAKS: Final = 3
"""The status of ``qemu-img check`` that has found leaked clusters, and no errors."""

KINDS: Final = ("", "cluster_size=4k", "cluster_size=16k,extended_l2=on", "compat=0.10")
_REQUEST: Final = struct.Struct(">IHHQQI")
_FLUSH, _WRITE = 3, 1


class Writer(threading.Thread):
    """An NBD client that writes a number to each block, greater each time.

    `issued` and `flushed`: the last number of each block that was sent, and that must be there.

    :param end: called after a number of requests that follows from the seed
    """

    def __init__(self, path: Path, seed: int, end: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.issued = [0] * BLOCKS
        self.flushed = [0] * BLOCKS
        self.requests = 0
        self._chance = random.Random(seed)
        self._last = self._chance.randrange(5, 120)
        self._end = end
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._receive(18)
        self._socket.sendall(struct.pack(">I8sII4s", 3, b"IHAVEOPT", 1, 4, b"disk"))
        self._receive(10)

    def _receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data

    def _request(self, kind: int, offset: int, data: bytes) -> None:
        length = len(data)
        head = _REQUEST.pack(0x25609513, 0, kind, self.requests, offset, length)
        self._socket.sendall(head + data)
        error = struct.unpack(">IIQ", self._receive(16))[1]
        assert not error, error
        self.requests += 1
        if self.requests == self._last:
            threading.Timer(self._chance.uniform(0, 0.02), self._end).start()

    def run(self) -> None:
        with suppress(OSError):
            while True:
                if self._chance.random() < 0.2:
                    written = list(self.issued)
                    self._request(_FLUSH, 0, b"")
                    self.flushed = written
                    continue
                block = self._chance.randrange(BLOCKS)
                self.issued[block] += 1
                data = struct.pack(">Q", self.issued[block]) * (BLOCK // 8)
                self._request(_WRITE, block * BLOCK, data)

    def check(self, content: bytes) -> None:
        """Check what is left."""
        for block in range(BLOCKS):
            piece = content[block * BLOCK : (block + 1) * BLOCK]
            for at in range(0, BLOCK, 512):
                (number,) = struct.unpack_from(">Q", piece, at)
                assert piece[at : at + 512] == struct.pack(">Q", number) * 64
                assert self.flushed[block] <= number <= self.issued[block], (block, at, number)


def hmp(line: str) -> dict[str, Any]:
    return {"execute": "human-monitor-command", "arguments": {"command-line": line}}


def work(chance: random.Random, *, old: bool) -> dict[str, Any]:
    """What is asked of the monitor next."""
    name = chance.choice("abc")
    offset = 4096 * chance.randrange(BLOCKS, SIZE // 4096 - 64)
    bitmap: dict[str, Any] = {"node": "n", "name": name}
    return chance.choice(
        [
            *[hmp(f"snapshot_blkdev_internal d {name}")] * 3,
            *[hmp(f"snapshot_delete_blkdev_internal d {name}")] * 3,
            hmp("commit d"),
            hmp(f'qemu-io d "write -q -P 9 {offset} 200k"'),
            hmp(f'qemu-io d "discard -q {offset} 200k"'),
            hmp(f'qemu-io d "write -q -z -u {offset} 100k"'),
            {
                "execute": "block-dirty-bitmap-add",
                "arguments": {**bitmap, "persistent": not old, "granularity": 4096},
            },
            {"execute": "block-dirty-bitmap-remove", "arguments": bitmap},
            hmp(f"block_resize d {SIZE + 4096 * chance.randrange(64)}B"),
        ]
    )


def play(folder: Path, number: int) -> Writer:
    """Let a program work, and kill it; returns the client."""
    chance = random.Random(number)
    kind = KINDS[number % len(KINDS)]
    options = ["-o", kind] if kind else []
    make = ["create", "-q", "-f", "qcow2", *options]
    qemu_img(*make, folder / "base.qcow2", str(SIZE))
    qemu_img(*make, "-b", "base.qcow2", "-F", "qcow2", folder / "top.qcow2")
    drive = "if=none,id=d,node-name=n,file=top.qcow2,format=qcow2,discard=unmap"
    argv = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
    program = StdioProgram(qmpd_argv([*argv, "-qmp", "stdio", "-drive", drive]), folder)
    program.message()
    program.execute({"execute": "qmp_capabilities"})
    address = {"type": "unix", "data": {"path": str(folder / "s")}}
    program.execute({"execute": "nbd-server-start", "arguments": {"addr": address}})
    export = {"type": "nbd", "id": "e", "node-name": "n", "name": "disk", "writable": True}
    program.execute({"execute": "block-export-add", "arguments": export})
    writer = Writer(folder / "s", number, program.process.kill)
    writer.start()
    with suppress(Gone, OSError):
        while True:
            program.execute(work(chance, old="0.10" in kind))
    writer.join()
    program.process.wait()
    with suppress(OSError):
        program.close()
    return writer


@needs_qemu_img
@pytest.mark.parametrize("batch", range(4))
def test_killed_with_snapshots_under_way(tmp_path: Path, batch: int) -> None:
    for number in range(batch, ROUNDS, 4):
        folder = tmp_path / str(number)
        folder.mkdir()
        writer = play(folder, number)
        for name in ("base.qcow2", "top.qcow2"):
            command = ["qemu-img", "check", "-f", "qcow2", "--output=json", str(folder / name)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode in (0, LEAKS), (number, name, done.stdout, done.stderr)
            assert "corruptions" not in json.loads(done.stdout)
        raw = folder / "raw"
        qemu_img("convert", "-f", "qcow2", "-O", "raw", folder / "top.qcow2", raw)
        writer.check(raw.read_bytes())
        for path in folder.iterdir():
            path.unlink()
