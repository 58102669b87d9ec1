"""Block backends of devices: property `drive`, permissions, options and release."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from qmpd.base.override import override
from qmpd.block.io.backend import BlockBackend
from qmpd.block.io.backends import find_backend
from qmpd.block.io.device_ops import BlockDevOps
from qmpd.block.permission_bits import ALL, CONSISTENT_READ, NOTHING, RESIZE, WRITE, WRITE_UNCHANGED
from qmpd.errors import GenericError
from qmpd.jobs.core.block_job import BlockJob

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.jobs.core.job_list import JobTable
    from qmpd.machine.devices.device import Bus, Device


def drive_name(device: Device) -> str:
    """The value of property `drive`: the name of the backend, else of the node."""
    backend = device.backend
    if backend is None:
        return ""
    node = backend.node
    return backend.name or ("" if node is None else node.node_name)


async def set_drive(device: Device, drive: str, graph: Graph) -> None:
    """Set property `drive` (``set_drive_helper``); for a realized device, replace the medium.

    :raises GenericError: there is no such backend or node, it is taken, or its parents object
    """
    if device.backend is not None:
        await _replace(device.backend, drive)
    elif drive:
        take(device, await _find(device, drive, graph))


async def _find(device: Device, drive: str, graph: Graph) -> BlockBackend:
    backend = find_backend(graph, drive)
    if backend is None:
        node = graph.find_node(drive)
        if node is None:
            raise GenericError(f"Property '{device.model}.drive' can't find value '{drive}'")
        context = node.aio_context if device.kind.knows_iothreads else None
        backend = await BlockBackend.in_context(context, node)
        device.owns_backend = True
        return backend
    if backend.device_id is not None:
        why = "by another device"
        if backend.drive_info is not None and backend.drive_info.interface != "none":
            why = (
                "because it has been automatically connected to another device (did you need"
                " 'if=none' in the drive options?)"
            )
        raise GenericError(f"Drive '{drive}' is already in use {why}")
    return backend


def take(device: Device, backend: BlockBackend) -> None:
    """Make `backend` the device's drive."""
    device.backend = backend
    backend.attach_device(device.attached_name)


def take_empty(device: Device, graph: Graph) -> BlockBackend:
    """Give the device an empty drive of its own."""
    device.owns_backend = True
    backend = BlockBackend(graph, "", read_only=True)
    take(device, backend)
    return backend


async def _replace(backend: BlockBackend, drive: str) -> None:
    graph = backend.graph
    node = graph.find_node(drive)
    if node is None:
        raise GenericError(f"Cannot find device='' nor node-name='{drive}'")
    if backend.node is None:
        await backend.insert_node(node)
    elif node is not backend.node:
        if node.aio_context is not backend.aio_context:
            # Here the real program ends.
            raise GenericError("Different aio context is not supported for new node")
        await backend.replace_node(node)


def require_drive(device: Device, text: str = "drive property not set") -> BlockBackend:
    """The device's backend.

    :raises GenericError: it has none
    """
    if device.backend is None:
        raise GenericError(text)
    return device.backend


def require_medium(backend: BlockBackend) -> None:
    """Refuse an empty drive.

    :raises GenericError: it is empty
    """
    if backend.node is None:
        raise GenericError("Device needs media, but drive is empty")


def is_read_only(backend: BlockBackend) -> bool:
    """Whether the medium is read-only; for an empty drive, whether the next one will be."""
    return backend.read_only if backend.node is None else backend.node.read_only


def apply_backend_options(
    device: Device, backend: BlockBackend, *, read_only: bool, resizable: bool
) -> None:
    """Ask for permissions and apply the device's options (``blkconf_apply_backend_options``).

    :param resizable: whether others may resize the medium
    :raises GenericError: the medium's other users object, or it is read-only
    """
    perm = CONSISTENT_READ | (NOTHING if read_only else WRITE)
    shared = CONSISTENT_READ | WRITE_UNCHANGED | (RESIZE if resizable else NOTHING)
    if device.values.get("share-rw"):
        shared |= WRITE
    backend.set_permissions(perm, shared)
    cache = device.get("write-cache")
    if cache != "auto":
        backend.enable_write_cache = cache == "on"
    read, write = device.get("rerror", "auto"), device.get("werror", "auto")
    backend.set_on_error(
        backend.on_read_error if read == "auto" else read,
        backend.on_write_error if write == "auto" else write,
    )
    for name in ("account_invalid", "account_failed"):
        wanted = device.get(name.replace("_", "-"))
        if wanted is None and backend.drive_info is None:
            setattr(backend.stats, name, False)  # models that cannot be told leave it to -drive
        elif wanted not in (None, "auto"):
            setattr(backend.stats, name, wanted == "on")


def put_to_use(device: Device, backend: BlockBackend, *, read_only: bool, resizable: bool) -> None:
    """Connect a device that is being realized with its backend.

    :param resizable: whether others may resize the medium
    :raises GenericError: the medium's other users object, or it is read-only
    """
    apply_backend_options(device, backend, read_only=read_only, resizable=resizable)
    backend.set_dev_ops(DiskOps(device))
    if device.kind.keeps_io_status:
        backend.enable_io_status()


class DiskOps(BlockDevOps):
    """A disk whose medium can be taken out, or not; with a tray, or without one."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._tray_open = False

    @property
    @override
    def has_removable_media(self) -> bool:
        return self._device.is_removable

    @property
    @override
    def has_tray(self) -> bool:
        return self._device.is_removable and self._device.kind.has_tray

    @override
    def is_tray_open(self) -> bool:
        return self._tray_open

    @override
    def change_media(self, *, load: bool) -> None:
        if self.has_tray:
            self._tray_open = not load

    def close_tray(self) -> None:
        """Close the tray without a word, as a reset does (``scsi_disk_reset``)."""
        self._tray_open = False


class FloppyOps(DiskOps):
    """A floppy drive, which asks for permissions only while there is a floppy."""

    def __init__(self, device: Device, backend: BlockBackend) -> None:
        super().__init__(device)
        self._backend = backend

    @override
    def change_media(self, *, load: bool) -> None:
        if load:
            apply_backend_options(
                self._device,
                self._backend,
                read_only=is_read_only(self._backend),
                resizable=False,
            )
        else:
            self._backend.set_permissions(NOTHING, ALL)


async def give_back(device: Device) -> None:
    """Release the backend of a device that could not be realized."""
    backend, device.backend = device.backend, None
    if backend is None:
        return
    backend.detach_device()
    backend.set_permissions(NOTHING, ALL)
    if device.owns_backend:
        await backend.close()


async def plugged(device: Device, bus: Bus) -> None:
    """A disk has come to a bus: let the iothread of the bus have it, if nobody minds."""
    if bus.aio_context is not None and device.backend is not None:
        with suppress(GenericError):
            await device.backend.set_context(bus.aio_context)


async def unplugged(device: Device) -> None:
    """A disk has left its bus: back to the main loop with it, if nobody minds."""
    bus = device.bus
    if bus is not None and bus.aio_context is not None and device.backend is not None:
        with suppress(GenericError):
            await device.backend.set_context(None)


async def settle(device: Device) -> None:
    """Let the requests under way to the disk end, where the model does so at its reset."""
    if device.backend is not None and device.kind.waits_for_disk:
        await device.backend.drain()


async def reset(device: Device) -> None:
    """Reset a part of a device: requests end, and a SCSI disk's tray is closed."""
    await settle(device)
    backend = device.backend
    if backend is not None and device.kind.waits_for_disk and isinstance(backend.dev_ops, DiskOps):
        backend.dev_ops.close_tray()


async def cancel_jobs(backend: BlockBackend, jobs: JobTable) -> None:
    """Cancel the jobs on a drive that ends with its device (``blockdev_mark_auto_del``)."""
    if backend.drive_info is None:
        return
    for job in list(jobs.jobs):
        if isinstance(job, BlockJob) and any(edge.node is backend.node for edge in job.edges):
            await job.cancel(force=False)


async def release(device: Device) -> None:
    """Release the backend of an unplugged device, and close it if it ends with the device."""
    backend, device.backend = device.backend, None
    if backend is None:
        return
    backend.detach_device()
    backend.set_permissions(NOTHING, ALL)
    if device.owns_backend or (backend.drive_info is not None and not device.kind.keeps_drive):
        await backend.close()
