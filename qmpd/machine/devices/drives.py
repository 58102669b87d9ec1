"""What a device does with its block backend: property `drive`, permissions, giving it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.io.backend import BlockBackend
from qmpd.block.permission_bits import ALL, CONSISTENT_READ, NOTHING, RESIZE, WRITE, WRITE_UNCHANGED
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.machine.devices.device import Device


def drive_name(device: Device) -> str:
    """What property `drive` says: the name of the backend, else of the node."""
    backend = device.backend
    if backend is None:
        return ""
    node = backend.node
    return backend.name or ("" if node is None else node.node_name)


def set_drive(device: Device, drive: str) -> None:
    """Set property `drive`: of a device that is there, another node replaces the medium.

    :raises GenericError: there is no such backend or node, it is taken, or its parents object
    """
    if device.backend is not None:
        _replace(device.backend, drive)
    elif drive:
        take(device, _find(device, drive))


def _find(device: Device, drive: str) -> BlockBackend:
    graph = device.machine.graph
    backend = graph.backends.get(drive)
    if backend is None:
        node = graph.find_node(drive)
        if node is None:
            raise GenericError(f"Property '{device.model}.drive' can't find value '{drive}'")
        device.owns_backend = True
        return BlockBackend(graph, "", node)
    if backend.device is not None:
        why = "by another device"
        if device.machine.devices.is_automatic(backend):
            why = (
                "because it has been automatically connected to another device (did you need"
                " 'if=none' in the drive options?)"
            )
        raise GenericError(f"Drive '{drive}' is already in use {why}")
    return backend


def take(device: Device, backend: BlockBackend) -> None:
    """Have `backend` for the device's drive."""
    device.backend = backend
    backend.attach_device(device.attached())


def take_empty(device: Device) -> BlockBackend:
    """Have an empty drive of the device's own."""
    device.owns_backend = True
    backend = BlockBackend(device.machine.graph, "")
    # a medium that is put in is read-only unless it is said otherwise
    backend.read_only = True
    take(device, backend)
    return backend


def _replace(backend: BlockBackend, drive: str) -> None:
    graph = backend.graph
    node = graph.find_node(drive)
    if node is None:
        raise GenericError(f"Cannot find device='' nor node-name='{drive}'")
    if node is backend.node:
        return
    before = backend.remove_node()
    try:
        backend.insert_node(node)
    except BaseException:
        if before is not None:
            backend.insert_node(before)
        raise
    if before is not None:
        graph.services.loop.spawn(graph.unref(before), "device")


def require_drive(device: Device, text: str = "drive property not set") -> BlockBackend:
    """The backend.

    :raises GenericError: none was given
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
    """Whether a guest cannot write: what is put into an empty drive later counts there."""
    return backend.read_only if backend.node is None else backend.node.read_only


def put_to_use(device: Device, backend: BlockBackend, *, read_only: bool, resizable: bool) -> None:
    """Ask for the permissions that the device needs, and apply its options to the backend.

    :param resizable: whether others may resize the medium
    :raises GenericError: the medium's other users object, or it is read-only
    """
    perm = CONSISTENT_READ | (0 if read_only else WRITE)
    shared = CONSISTENT_READ | WRITE_UNCHANGED | (RESIZE if resizable else 0)
    if device.values.get("share-rw"):
        shared |= WRITE
    backend.set_permissions(perm, shared)
    cache = device.get("write-cache")
    if cache != "auto":
        backend.enable_write_cache = cache == "on"
    for name in ("account_invalid", "account_failed"):
        wanted = device.get(name.replace("_", "-"))
        if wanted != "auto":
            setattr(backend.stats, name, wanted == "on")
    attached = device.attached()
    if backend.device is not None:
        attached.on_medium = backend.device.on_medium
    backend.attach_device(attached)


def give_back(device: Device) -> None:
    """Give up the backend of a device that could not be built."""
    backend, device.backend = device.backend, None
    if backend is None:
        return
    backend.detach_device()
    if not device.owns_backend:
        backend.set_permissions(NOTHING, ALL)
        return
    node = backend.remove_node()
    graph = backend.graph
    graph.forget_backend(backend)
    if node is not None:
        graph.services.loop.spawn(graph.unref(node), "device")


async def release(device: Device) -> None:
    """Give up the backend of a device that is gone, and close it where it goes with it."""
    backend, device.backend = device.backend, None
    if backend is None:
        return
    backend.detach_device()
    if device.owns_backend or device.machine.devices.goes_with(device, backend):
        await backend.close()
    else:
        backend.set_permissions(NOTHING, ALL)
