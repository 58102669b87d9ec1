"""A machine in the test with disks that a guest writes, and what it should read."""

from __future__ import annotations

import errno
from typing import Any

from qmpd.block.images import MemoryStorage
from qmpd.block.images.image import Image
from qmpd.block.images.storage import could_not
from qmpd.block.io.backend import BlockBackend
from qmpd.block.permission_bits import ALL, CONSISTENT_READ, WRITE
from qmpd.errors import QmpError
from tests.support.machines import TestMachine

SIZE = 1 << 20


class FaultyStorage(MemoryStorage):
    """Cannot create files in folder ``/none``, nor open those in ``/closed``."""

    def create(self, filename: str) -> Image:
        """See `Storage.create`."""
        if filename.startswith("/none/"):
            raise could_not("create", filename, errno.ENOENT)
        return super().create(filename)

    def open(self, filename: str, *, read_only: bool = False) -> Image:
        """See `Storage.open`."""
        if filename.startswith("/closed/") and filename in self:
            raise could_not("open", filename, errno.EACCES)
        return super().open(filename, read_only=read_only)


class SnapshotWorld(TestMachine):
    """Disks d0, d1, ... on nodes n0, n1, ..., each with a dirty bitmap.

    :param size: how many disks
    """

    def __init__(self, size: int) -> None:
        super().__init__(FaultyStorage())
        self.disks = [self._add_disk(number) for number in range(size)]
        self.model = [bytearray(SIZE) for _ in self.disks]
        for number in range(size):
            self.write(number, 0, bytes([number + 1]) * 4096)

    def make_image(self, filename: str) -> dict[str, Any]:
        """Make a qcow2 image; returns the options of its file node."""
        file = {"driver": "file", "filename": filename}
        for options in ({**file, "size": 0}, {"driver": "qcow2", "file": file, "size": SIZE}):
            self.execute("blockdev-create", job_id="create", options=options)
            self.execute("job-dismiss", id="create")
        return file

    def _add_disk(self, number: int) -> BlockBackend:
        file = self.make_image(f"/disk{number}")
        self.execute("blockdev-add", driver="qcow2", node_name=f"n{number}", file=file)
        self.execute("block-dirty-bitmap-add", node=f"n{number}", name="b")
        node = self.machine.graph.find_node(f"n{number}")
        assert node is not None
        perm = CONSISTENT_READ | WRITE
        backend = BlockBackend.on(node, name=f"d{number}", perm=perm, shared=ALL)
        made: BlockBackend = self.clock.run(backend)
        return made

    def write(self, number: int, offset: int, data: bytes) -> None:
        """Let the guest write."""
        self.model[number][offset : offset + len(data)] = data
        self.clock.run(self.disks[number].pwrite(offset, data))

    def check_content(self) -> None:
        """Every disk reads as the model."""
        for disk, model in zip(self.disks, self.model, strict=True):
            assert self.clock.run(disk.pread(0, SIZE)) == model

    def state(self) -> list[Any]:
        """What there is, told in queries."""
        return [
            self.execute("query-block"),
            self.execute("query-named-block-nodes", flat=True),
            self.execute("x-debug-query-block-graph"),
            self.execute("query-jobs"),
        ]

    def error(self, command: str, **arguments: Any) -> tuple[str, str]:
        """Class and text of the error that a command fails with."""
        try:
            value = self.execute(command, **arguments)
        except QmpError as error:
            return error.error_class, error.desc
        raise AssertionError(f"{command} returned {value}")

    def tops(self) -> list[str]:
        """The file in each disk."""
        return [info["inserted"]["file"] for info in self.execute("query-block")]
