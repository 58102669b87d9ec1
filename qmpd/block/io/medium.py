"""Media that come and go: trays, and what is in them."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from qmpd.block.model.blockers import Op
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.model.node import Node


def _has_tray(backend: BlockBackend) -> bool:
    return backend.device is not None and backend.device.tray_open is not None


def _is_open(backend: BlockBackend) -> bool:
    return backend.device is not None and bool(backend.device.tray_open)


def _check_removable(backend: BlockBackend, name: str) -> None:
    if backend.device is not None and not backend.device.removable:
        raise GenericError(f"Device '{name}' is not removable")


def change_media(backend: BlockBackend, load: bool) -> None:
    """The medium is there now, or no longer: tell the device, which moves its tray."""
    device = backend.device
    if device is not None and device.on_medium is not None:
        device.on_medium(load)
    if device is None or not device.removable or device.tray_open is None:
        return
    was_open, device.tray_open = device.tray_open, not load
    if was_open != device.tray_open:
        backend.graph.services.emit(
            "DEVICE_TRAY_MOVED",
            {"device": backend.name, "id": device.id, "tray-open": device.tray_open},
        )


def open_tray(backend: BlockBackend, name: str, *, force: bool) -> bool:
    """Open the tray; returns whether there is one.

    :param name: how messages call the device
    :raises GenericError: the medium is fixed, or locked by the guest
    """
    _check_removable(backend, name)
    if not _has_tray(backend):
        return False
    device = backend.device
    assert device is not None
    if device.tray_open:
        return True
    if not device.locked or force:
        device.locked = False
        change_media(backend, False)
        return True
    raise GenericError(
        f"Device '{name}' is locked and force was not specified, wait for tray to open and try"
        " again"
    )


def close_tray(backend: BlockBackend, name: str) -> None:
    """Close the tray, if there is one.

    :raises GenericError: the medium is fixed
    """
    _check_removable(backend, name)
    if _has_tray(backend) and _is_open(backend):
        change_media(backend, True)


async def remove_medium(backend: BlockBackend, name: str) -> None:
    """Take the medium out.

    :raises GenericError: it is fixed, its tray is closed, or it is in use
    """
    _check_removable(backend, name)
    if _has_tray(backend) and not _is_open(backend):
        raise GenericError(f"Tray of device '{name}' is not open")
    node = backend.node
    if node is None:
        return
    node.check_operation(Op.EJECT)
    await backend.graph.drained_begin(node)
    backend.read_only = node.read_only
    backend.remove_node()
    backend.graph.drained_end(node)
    await backend.graph.unref(node)
    if not _has_tray(backend):
        change_media(backend, False)


def insert_medium(backend: BlockBackend, node: Node) -> None:
    """Put a medium in.

    :raises GenericError: there is one, the tray is closed, or the node's parents object
    """
    if backend.device is not None and not backend.device.removable:
        raise GenericError("Device is not removable")
    if _has_tray(backend) and not _is_open(backend):
        raise GenericError("Tray of the device is not open")
    if backend.node is not None:
        raise GenericError("There already is a medium in the device")
    backend.insert_node(node)
    if not _has_tray(backend):
        try:
            change_media(backend, True)
        except BaseException:
            backend.remove_node()
            raise


def medium_of(backend: BlockBackend) -> Node:
    """The root node.

    :raises BlockIOError: ENOMEDIUM without one
    """
    if backend.node is None:
        raise BlockIOError(errno.ENOMEDIUM)
    return backend.node
