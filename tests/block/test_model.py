"""Any sequence of writes, zeroes, discards and resizes, beside a bytearray."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.block.change.blockdev import blockdev_add
from qmpd.block.change.closing import close_all
from qmpd.block.images import HostStorage, MemoryStorage, OverlayStorage, Storage
from qmpd.block.io.resize import block_resize
from qmpd.errors import BlockIOError
from tests.block.world import World

WINDOW = 1 << 18
GRANULARITY = 4096
OFFSETS = st.integers(0, WINDOW)
LENGTHS = st.integers(0, 1 << 15) | st.just(1 << 17)


class Disk(RuleBasedStateMachine):
    """A raw node over a file; its bytes and its dirty bitmap are foretold."""

    storage: type[Storage] = MemoryStorage

    @initialize(
        size=st.integers(0, 200).map(lambda n: n * 1000),
        offset=st.sampled_from([0, 512, 4096]),
        zeroes=st.sampled_from(["off", "on", "unmap"]),
        discard=st.sampled_from(["ignore", "unmap"]),
    )
    def begin(self, size: int, offset: int, zeroes: str, discard: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        name = str(Path(self.folder.name) / "disk")
        fill = bytes(i * 7 % 251 + 1 for i in range(size))
        if self.storage is MemoryStorage:
            self.world = World()
            self.world.file(name, offset + size, bytes(offset) + fill)
        else:
            Path(name).write_bytes(bytes(offset) + fill)
            self.world = World(self.storage())
        self.path = name
        self.before = bytes(offset) + fill
        if zeroes == "unmap":
            discard = "unmap"
        options: dict[str, Any] = {"offset": offset} if offset else {}
        self.offset = offset
        self.unmap = discard == "unmap"
        self.node = self.world.add(
            "raw",
            "disk",
            file={"driver": "file", "filename": name},
            detect_zeroes=zeroes,
            discard=discard,
            **options,
        )
        padded = -(-(offset + size) // 512) * 512 - offset
        self.model = bytearray(fill + bytes(padded - size))
        self.bitmap = DirtyBitmap(self.node.length, GRANULARITY, "b")
        self.node.bitmaps.add(self.bitmap)
        self.dirty: set[int] = set()

    def _mark(self, offset: int, length: int) -> None:
        if length:
            self.dirty |= set(
                range(offset // GRANULARITY, (offset + length - 1) // GRANULARITY + 1)
            )

    def _put(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        if end > len(self.model):
            whole = -(-(end) // 512) * 512
            self.model.extend(bytes(whole - len(self.model)))
        self.model[offset:end] = data
        self._mark(offset, len(data))

    @rule(offset=OFFSETS, length=LENGTHS, byte=st.sampled_from([0, 0, 1, 200]))
    def write(self, offset: int, length: int, byte: int) -> None:
        if not length and offset > len(self.model):
            return  # QEMU's node is longer then, the file is not
        data = bytes([byte]) * length
        self.world.run(self.node.pwrite(offset, data))
        self._put(offset, data)

    @rule(offset=OFFSETS, length=LENGTHS, may_unmap=st.booleans(), no_fallback=st.booleans())
    def write_zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        if not length and offset > len(self.model):
            return
        self.world.run(
            self.node.pwrite_zeroes(offset, length, may_unmap=may_unmap, no_fallback=no_fallback)
        )
        self._put(offset, bytes(length))

    @rule(offset=OFFSETS, length=LENGTHS)
    def discard(self, offset: int, length: int) -> None:
        if offset + length > len(self.model):
            return
        self.world.run(self.node.pdiscard(offset, length))
        if self.unmap:
            self._mark(offset, length)
            self.model[offset : offset + length] = bytes(length)

    @rule(size=st.integers(0, WINDOW // 500).map(lambda n: n * 500))
    def resize(self, size: int) -> None:
        self.world.run(block_resize(self.node, size))
        whole = -(-(size + self.offset) // 512) * 512 - self.offset
        del self.model[size:]
        self.model.extend(bytes(whole - len(self.model)))
        self.dirty = {n for n in self.dirty if n * GRANULARITY < len(self.model)}

    @rule(offset=OFFSETS, length=LENGTHS)
    def read(self, offset: int, length: int) -> None:
        expected = bytes(self.model[offset : offset + length])
        data = self.world.run(self.node.pread(offset, length))
        assert data == expected + bytes(length - len(expected))

    @rule()
    def see_where_data_is(self) -> None:
        offset = 0
        while offset < self.node.length:
            status = self.world.run(self.node.block_status(offset, self.node.length))
            assert status.length > 0
            if status.zero:
                assert not any(self.model[offset : offset + status.length])
            offset += status.length

    @rule()
    def close_and_open(self) -> None:
        file = {"driver": "file", "filename": self.path}
        options = {**self.node.options, "file": file}
        self.world.delete("disk")
        self.node = self.world.run(blockdev_add(self.world.graph, options))
        self.node.bitmaps.add(self.bitmap)

    @invariant()
    def agrees(self) -> None:
        node = getattr(self, "node", None)
        if node is not None:
            assert node.length == len(self.model)
            assert self.bitmap.count == len(self.dirty) * GRANULARITY
            assert not node.in_flight

    def teardown(self) -> None:
        if hasattr(self, "node"):
            assert self.world.run(self.node.pread(0, len(self.model))) == bytes(self.model)
            self.world.run(close_all(self.world.graph))
            assert self.world.names() == []
            if self.storage is OverlayStorage:
                assert Path(self.path).read_bytes() == self.before
            self.world.storage.close()
            self.folder.cleanup()


@pytest.mark.parametrize("storage", [MemoryStorage, OverlayStorage, HostStorage])
def test_disk(storage: type[Storage]) -> None:
    disk: type[Disk] = type("Case", (Disk,), {"storage": storage})
    case = disk.TestCase
    case.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
    case().runTest()


def test_what_lies_outside_is_refused() -> None:
    world = World()
    node = world.add("null-co", "n", size=1 << 20)
    for offset, length in ((2**63, 1), (-1, 1), (2**63 - 2**30, 512)):
        with pytest.raises(BlockIOError):
            world.run(node.pwrite(offset, bytes(length)))
        with pytest.raises(BlockIOError):
            world.run(node.pread(offset, length))
