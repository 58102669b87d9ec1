"""Exports of type vhost-user-blk: a disk for the virtual machine of another process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from qmpd.base.override import override
from qmpd.block.io.device_ops import BlockDevOps
from qmpd.errors import GenericError
from qmpd.export.exports import BlockExport
from qmpd.export.vhost_user.device import VhostUserDevice
from qmpd.export.vhost_user.virtio_blk import VirtioBlk

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.export.host import VhostUserListener
    from qmpd.export.machine import ExportingMachine

MIN_BLOCK: Final = 512
MAX_BLOCK: Final = 2 << 20
"""Bytes of the smallest and the largest logical block."""


class _TellsOfSizes(BlockDevOps):
    """Has a client read the size of the disk again when it has changed (``vu_blk_exp_resize``)."""

    def __init__(self, listener: VhostUserListener) -> None:
        self._listener = listener

    @override
    def resized(self) -> None:
        self._listener.config_changed()


class VhostUserBlkExport(BlockExport):
    """A node behind a socket to which one client at a time can connect.

    :param listener: listens for the client
    """

    export_type: ClassVar[str] = "vhost-user-blk"

    def __init__(self, export_id: str, backend: BlockBackend, listener: VhostUserListener) -> None:
        super().__init__(export_id, backend)
        self._listener = listener
        backend.set_dev_ops(_TellsOfSizes(listener))

    @property
    @override
    def in_use(self) -> bool:
        """False: a client of this type does not keep its export from being deleted."""
        return False

    @override
    async def close_clients(self) -> None:
        self.backend.set_dev_ops(None)
        await self._listener.close()

    @override
    def deleted(self) -> None:
        pass


def create_vhost_user(
    machine: ExportingMachine, backend: BlockBackend, options: Mapping[str, Any]
) -> VhostUserBlkExport:
    """An export of type vhost-user-blk, listening.

    :param backend: the backend that it reads and writes
    :param options: BlockExportOptions of this type, plain JSON values
    :raises GenericError: QEMU's texts
    :raises NotServed: the machine's host does not listen
    """
    block_size = options.get("logical-block-size", MIN_BLOCK)
    check_block_size(block_size)
    queues = options.get("num-queues", 1)
    if queues == 0:
        raise GenericError("num-queues must be greater than 0")
    if options["addr"]["type"] not in ("unix", "fd"):
        raise GenericError("Only socket address types 'unix' and 'fd' are supported")
    blk = VirtioBlk(
        backend, writable=options.get("writable", False), block_size=block_size, queues=queues
    )
    report = machine.graph.services.say.report
    make_device = partial(VhostUserDevice, blk, report)
    listener = machine.host.listen_vhost_user(options["addr"], make_device, report)
    return VhostUserBlkExport(options["id"], backend, listener)


def check_block_size(size: int) -> None:
    """Check the size of a logical block; 0 is accepted (``check_block_size``).

    :raises GenericError: it is not a power of two, or too small or too large
    """
    if size & (size - 1) or (size and not MIN_BLOCK <= size <= MAX_BLOCK):
        raise GenericError(
            f"parameter logical-block-size must be a power of 2 between {MIN_BLOCK} and {MAX_BLOCK}"
        )
