"""Block status of many extents in one reply: the same that one extent at a time tells."""

from __future__ import annotations

import struct
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest

import qmpd
from qmpd.block.drivers.protocols.nbd.protocol import (
    CHUNK,
    OPTION_HEADER,
    OPTION_MAGIC,
    Command,
    CommandFlag,
    Option,
    OptionReply,
)
from tests.export.test_nbd_at_once import Client, request

SIZE = 6 << 20
EXPORT = "e"
EXPORTED = {"type": "nbd", "id": "e", "node-name": "n", "name": EXPORT}


class Asks(Client):
    """A client that asks for contexts, and for the status of areas."""

    def __init__(self, path: str, *contexts: str) -> None:
        self._contexts = contexts
        super().__init__(path, EXPORT, structured=True)

    def begun(self) -> None:
        name = EXPORT.encode()
        data = struct.pack(">I", len(name)) + name + struct.pack(">I", len(self._contexts))
        for context in self._contexts:
            data += struct.pack(">I", len(context)) + context.encode()
        option = OPTION_HEADER.pack(OPTION_MAGIC, Option.SET_META_CONTEXT, len(data))
        self.socket.sendall(option + data)
        kind = 0
        while kind != OptionReply.ACK:
            _, _, kind, length = struct.unpack(">QIII", self.exactly(20))
            self.exactly(length)

    def status(self, offset: int, length: int, flags: int = 0) -> list[list[tuple[int, int]]]:
        """The extents of each context."""
        self.socket.sendall(request(Command.BLOCK_STATUS, offset, length, flags))
        found = []
        last = 0
        while not last:
            _, last, _, _, size = CHUNK.unpack(self.exactly(CHUNK.size))
            found.append(list(struct.iter_unpack(">II", self.exactly(size)[4:])))
        return found

    def one_by_one(self, offset: int, length: int, context: int) -> list[tuple[int, int]]:
        """The same of one context, an extent at a time; neighbours of one status merged."""
        found: list[tuple[int, int]] = []
        while length:
            ((size, state),) = self.status(offset, length, CommandFlag.REQ_ONE)[context]
            if found and found[-1][1] == state:
                found[-1] = found[-1][0] + size, state
            else:
                found.append((size, state))
            offset, length = offset + size, length - size
        return found


def change(vm: qmpd.Machine, random: Random) -> None:
    """Data, zeroes and holes at random places."""
    for _ in range(60):
        length = random.choice([512, 4096, 65536, 200_000 // 512 * 512])
        offset = random.randrange((SIZE - length) // 512) * 512
        what = random.choice(["write", "write", "write -z", "write -z -u", "discard"])
        vm.hmp(f"qemu-io n '{what} {offset} {length}'".replace("'", '"'))


def image(vm: qmpd.Machine, driver: str, file: dict[str, Any], **options: Any) -> None:
    for create in ({**file, "size": 0}, {"driver": driver, "size": SIZE, **options}):
        if create["driver"] == "raw":
            continue
        if create["driver"] == "qcow2":
            vm.cmd("blockdev-add", {**file, "node-name": "new"})
            create["file"] = "new"
        elif driver == "raw":
            create["size"] = SIZE + 4096
        vm.cmd("blockdev-create", job_id="c", options=create)
        assert vm.job("c").wait() == "concluded"
        assert vm.job("c").error is None
        vm.cmd("job-dismiss", id="c")
        if create["driver"] == "qcow2":
            vm.cmd("blockdev-del", node_name="new")


@pytest.mark.parametrize("storage", ["memory", "host", "overlay"])
@pytest.mark.parametrize(
    ("driver", "created", "opened"),
    [
        ("raw", {}, {}),
        ("raw", {}, {"offset": 4096}),
        ("qcow2", {}, {}),
        ("qcow2", {"cluster-size": 512}, {}),
        ("qcow2", {"cluster-size": 1 << 20}, {}),
        ("qcow2", {"extended-l2": True}, {}),
        ("qcow2", {"preallocation": "metadata"}, {}),
    ],
)
def test_all_at_once_is_the_same_as_one_by_one(
    tmp_path: Path,
    storage: Literal["memory", "host", "overlay"],
    driver: str,
    created: dict[str, Any],
    opened: dict[str, Any],
) -> None:
    random = Random(driver + repr(created) + repr(opened))
    path = str(tmp_path / "nbd.sock")
    with qmpd.Machine(clock="real", storage=storage) as vm, vm.serve():
        file = {"driver": "file", "filename": str(tmp_path / "image")}
        image(vm, driver, file, **created)
        node = {"driver": driver, "file": file, "node-name": "n", "discard": "unmap"}
        vm.cmd("blockdev-add", {**node, **opened})
        vm.cmd("block-dirty-bitmap-add", node="n", name="b", granularity=4096)
        change(vm, random)
        vm.cmd("block-dirty-bitmap-disable", node="n", name="b")
        vm.cmd("nbd-server-start", addr={"type": "unix", "data": {"path": path}})
        vm.cmd("block-export-add", type="nbd", id="e", node_name="n", name=EXPORT, bitmaps=["b"])
        client = Asks(path, "base:allocation", "qemu:dirty-bitmap:b")
        areas = [(0, SIZE), (512, SIZE - 1024), (1 << 20, 3 << 20), (SIZE - 512, 512)]
        for offset, length in areas:
            found = client.status(offset, length)
            for context in range(2):
                assert found[context] == client.one_by_one(offset, length, context)
        with vm.faults.fail("block_status", node="n", errno="EIO", count=1) as fault:
            client.socket.sendall(request(Command.BLOCK_STATUS, 0, SIZE))
            _, _, kind, _, size = CHUNK.unpack(client.exactly(CHUNK.size))
            client.exactly(size)
            assert (kind, fault.hits) == (0x8001, 1)
        client.socket.close()


def test_a_filter_that_was_there_when_the_client_came_may_go(tmp_path: Path) -> None:
    path = str(tmp_path / "nbd.sock")
    with qmpd.Machine(disks={"n": SIZE, "t": SIZE}, clock="real") as vm, vm.serve():
        vm.disk("n").write(1 << 20, b"x" * (1 << 20))
        vm.cmd("nbd-server-start", addr={"type": "unix", "data": {"path": path}})
        vm.cmd("block-export-add", {**EXPORTED, "allocation-depth": True})
        vm.cmd("blockdev-backup", job_id="j", device="n", target="t", sync="full", speed=1)
        client = Asks(path, "base:allocation", "qemu:allocation-depth")
        client.status(0, SIZE)
        vm.cmd("block-job-cancel", device="j", force=True)
        vm.job("j").wait()
        allocation, depth = client.status(0, SIZE)
        assert allocation == [(1 << 20, 3), (1 << 20, 0), (4 << 20, 3)]
        assert sum(length for length, _ in depth) == SIZE
        client.socket.close()
