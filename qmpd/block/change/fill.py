"""What a node is to be opened as, from its file name and options (``bdrv_fill_options``)."""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.model.driver_table import DRIVERS, find_driver
from qmpd.block.model.flat_options import FlatOptions
from qmpd.block.model.protocol_name import has_protocol
from qmpd.block.permission_bits import COW, DATA, FILTERED, METADATA, Role
from qmpd.errors import GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.block.images.storage import Storage
    from qmpd.block.model.driver import BlockDriver
    from qmpd.block.model.interface import DriverInterface

_PROTOCOLS: Final = {
    **{name: name for name in ("blkdebug", "blkverify", "file", "null-aio", "null-co", "nbd")},
    **{name: name for name in ("host_cdrom", "host_device")},
    "nbd+tcp": "nbd",
    "nbd+unix": "nbd",
}
"""Which driver serves file names of a protocol."""

_NO_OPTIONS: Final = "Must specify either driver or file"


def join_json(
    flat: FlatOptions, filename: str | None, parse_json: Callable[[str], object]
) -> str | None:
    """Add what a ``json:`` name says to the options, which come first (``parse_json_protocol``).

    :returns: the file name that is left
    :raises GenericError: it is no JSON object
    """
    if filename is None or not filename.startswith("json:"):
        return filename
    try:
        options = parse_json(filename.removeprefix("json:"))
    except QmpError as error:
        raise GenericError(f"Could not parse the JSON options: {error.desc}") from None
    if not isinstance(options, dict):
        raise GenericError("Invalid JSON object given")
    for name, value in FlatOptions.flatten(options).items():
        flat.setdefault(name, value)
    return None


def child_is_protocol(parent: type[DriverInterface[Any]] | None, role: Role) -> bool:
    """Whether a child is to be opened without looking for an image format in it.

    :param parent: the driver of the node above; None while that is not known, as that of an image
        is not when its file is opened
    :param role: what the child holds
    """
    is_format = parent is None or parent.shape.is_format
    protocol = parent is not None and parent.shape.is_protocol
    if not is_format and role & DATA and not role & (METADATA | FILTERED):
        protocol = False
    if (is_format and not role & COW) or role & METADATA:
        protocol = True
    return protocol


def fill_options(
    flat: FlatOptions,
    filename: str | None,
    storage: Storage,
    *,
    is_protocol: bool,
    parse_filename: bool,
) -> type[BlockDriver] | None:
    """Complete the options of one node.

    :param is_protocol: whether it is to be a protocol, where the options name no driver
    :param parse_filename: whether the file name may begin with a protocol
    :returns: the driver; None if the file has to be looked at first
    :raises GenericError: they contradict each other
    """
    name = flat.text("driver")
    driver = None if name is None else find_driver(name)
    if driver is not None:
        is_protocol = driver.shape.is_protocol
    named = is_protocol and filename is not None
    if named:
        if "filename" in flat:
            raise GenericError("Can't specify 'file' and 'filename' options at the same time")
        flat["filename"] = filename
    parse_filename = parse_filename and named
    filename = flat.text("filename")
    if driver is None and is_protocol:
        if filename is None:
            raise GenericError(_NO_OPTIONS)
        driver = find_protocol(filename, storage, parse_filename=parse_filename)
        flat["driver"] = driver.format_name
    if driver is not None and parse_filename and filename is not None:
        driver.parse_filename(filename, flat)
        if not driver.shape.needs_filename:
            del flat["filename"]
    return driver


def find_protocol(name: str, storage: Storage, *, parse_filename: bool = True) -> type[BlockDriver]:
    """The driver that a file name is for (``bdrv_find_protocol``).

    :param parse_filename: whether it may begin with a protocol
    :raises GenericError: nobody knows the protocol
    """
    if "host_device" in DRIVERS and name.startswith("/dev/") and _is_device(name, storage):
        return find_driver("host_device")
    if not parse_filename or not has_protocol(name):
        return find_driver("file")
    protocol = name.partition(":")[0]
    driver = _PROTOCOLS.get(protocol)
    if driver is None or driver not in DRIVERS:
        raise GenericError(f"Unknown protocol '{protocol}'")
    return find_driver(driver)


def _is_device(name: str, storage: Storage) -> bool:
    try:
        mode = storage.mode(name)
    except OSError:
        return False
    return stat.S_ISBLK(mode) or stat.S_ISCHR(mode)


def protocol_options(name: str, storage: Storage) -> dict[str, Any]:
    """The driver that a file name is for, and its options, as blockdev-create has them.

    :raises GenericError: nobody knows the protocol
    """
    flat = FlatOptions()
    driver = fill_options(flat, name, storage, is_protocol=True, parse_filename=True)
    assert driver is not None
    return dict(flat)
