"""Media that come and go: trays, and what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.model.blockers import Op
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.block.model.node import Node


def _check_removable(backend: BlockBackend, name: str) -> None:
    if not backend.has_removable_media:
        raise GenericError(f"Device '{name}' is not removable")


def change_media(backend: BlockBackend, *, load: bool) -> None:
    """Tell the device that a medium is there now, or no longer (``blk_dev_change_media_cb``).

    :raises GenericError: the device refuses the new medium
    """
    ops = backend.dev_ops
    if ops is None or not ops.has_removable_media:
        return
    was_open = ops.is_tray_open()
    ops.change_media(load=load)
    if was_open != ops.is_tray_open():
        backend.graph.services.emit(
            "DEVICE_TRAY_MOVED",
            {"device": backend.name, "id": backend.device_id, "tray-open": ops.is_tray_open()},
        )


def open_tray(backend: BlockBackend, name: str, *, force: bool) -> bool:
    """Open the tray (``do_open_tray``); returns whether there is one.

    :param name: how messages call the device
    :raises GenericError: the medium is fixed, or locked by the guest
    """
    _check_removable(backend, name)
    ops = backend.dev_ops
    if ops is None or not ops.has_tray:
        return False
    if ops.is_tray_open():
        return True
    locked = ops.is_medium_locked()
    if locked:
        ops.eject_request(force=force)
    if not locked or force:
        change_media(backend, load=False)
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
    if backend.is_tray_open():
        change_media(backend, load=True)


async def remove_medium(backend: BlockBackend, name: str) -> None:
    """Take the medium out.

    :raises GenericError: it is fixed, its tray is closed, or it is in use
    """
    _check_removable(backend, name)
    if backend.has_tray and not backend.is_tray_open():
        raise GenericError(f"Tray of device '{name}' is not open")
    node = backend.node
    if node is None:
        return
    node.check_operation(Op.EJECT)
    await backend.remove_node()
    if not backend.has_tray:
        change_media(backend, load=False)


async def insert_medium(backend: BlockBackend, node: Node) -> None:
    """Put a medium in.

    :raises GenericError: there is one, the tray is closed, or the node's parents object
    """
    if not backend.has_removable_media:
        raise GenericError("Device is not removable")
    if backend.has_tray and not backend.is_tray_open():
        raise GenericError("Tray of the device is not open")
    if backend.node is not None:
        raise GenericError("There already is a medium in the device")
    await backend.insert_node(node)
    if not backend.has_tray:
        try:
            change_media(backend, load=True)
        except BaseException:
            await backend.remove_node()
            raise
