"""Disks described in a few words: a node on an image, and a block backend of the same name.

QEMU has no such thing.  ``qmpd serve --disk`` and ``qmpd.Machine(disks=...)`` make machines with
disks this way, so that nobody has to write ``-blockdev`` options for a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.identifiers import id_wellformed
from qmpd.base.sizes import SECTOR
from qmpd.errors import GenericError
from qmpd.options.keyval import parse_keyval
from qmpd.options.qemu_opts import parse_option_bool, parse_option_size

if TYPE_CHECKING:
    from qmpd.block.images import Storage
    from qmpd.machine.machine import Machine

CREATE_KEYS: Final = {
    "backing": "backing-file",
    "backing_fmt": "backing-fmt",
    "cluster_size": "cluster-size",
    "compression_type": "compression-type",
    "extended_l2": "extended-l2",
    "lazy_refcounts": "lazy-refcounts",
    "preallocation": "preallocation",
    "refcount_bits": "refcount-bits",
    "version": "version",
}
"""Keys for new qcow2 images, by what blockdev-create calls them."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk to be added to a machine.

    :param name: of the node and of the backend
    :param size: bytes; a new image is made where it is given, an image that exists is opened where
        it is None
    :param path: file name in the machine's storage; None for a disk whose bytes are in memory
    :param format: block driver of the image
    :param read_only: whether the guest may not write to it
    :param create: how a new qcow2 image is made, by keys of `CREATE_KEYS`
    """

    name: str
    size: int | None
    path: str | None = None
    format: str = "raw"
    read_only: bool = False
    create: Mapping[str, str] = field(default_factory=dict)


def read_disk(name: str, size: str) -> Disk:
    """A new disk in memory.

    :param size: bytes, or a number with a suffix: ``64M``
    :raises GenericError: the name or the size is malformed
    """
    return Disk(_checked_name(name), _checked_size(size))


def read_image(text: str, name: str) -> Disk:
    """The disk described by ``PATH[,KEY=VALUE...]``.

    :param name: of the disk, where the text has no key ``name``
    :raises GenericError: an unknown key, or a wrong value
    """
    path, _, rest = text.partition(",")
    keys = {key: str(value) for key, value in parse_keyval(rest).tree.items()}
    return read_image_keys(path, keys, name)


def read_image_keys(path: str, keys: Mapping[str, str], name: str) -> Disk:
    """The disk described by a path and keys.

    :raises GenericError: an unknown key, or a wrong value
    """
    rest = dict(keys)
    read_only = parse_option_bool("read-only", rest.pop("read-only", "off"))
    name = _checked_name(rest.pop("name", name))
    size = rest.pop("size", None)
    image_format = rest.pop("format", "raw")
    create = {key: rest.pop(key) for key in list(rest) if key in CREATE_KEYS}
    for key in rest:
        raise GenericError(f"there is no key '{key}'")
    if create and (size is None or image_format != "qcow2"):
        raise GenericError(
            f"'{next(iter(create))}' is for new qcow2 images: give format=qcow2 and a size"
        )
    number_of_bytes = None if size is None else _checked_size(size)
    return Disk(name, number_of_bytes, path, image_format, read_only, create)


def _checked_name(name: str) -> str:
    if not id_wellformed(name):
        raise GenericError(
            f"'{name}' is no name for a disk: it takes letters, digits, '-', '.', '_',"
            " and starts with a letter"
        )
    return name


def read_size(text: str) -> int:
    """A number of bytes, which may have a suffix: ``64M``.

    :raises GenericError: it is malformed
    """
    try:
        return parse_option_size("size", text)
    except GenericError:
        raise GenericError(f"'{text}' is no size: bytes, or a number with k, M, G, T") from None


def _checked_size(text: str) -> int:
    size = read_size(text)
    if size % SECTOR:
        raise GenericError(f"size {text} is no multiple of 512 bytes")
    return size


async def add_disk(
    machine: Machine, disk: Disk, *, private: Storage | None = None, make: bool = True
) -> None:
    """Open the disk's image, after making it if the disk has a size.

    :param private: keeps the bytes, wherever those of the machine's other images live
    :param make: whether to make it; otherwise it has been made, by a machine before this one
    :raises QmpError: it cannot be made or opened
    """
    from qmpd.block.change.opening import open_node
    from qmpd.block.io.backend import BlockBackend

    graph = machine.graph
    filename = f"/{disk.name}.raw" if disk.path is None else disk.path
    file = {"driver": "file", "filename": filename, "read-only": disk.read_only}
    options = {
        "driver": disk.format,
        "node-name": disk.name,
        "read-only": disk.read_only,
        "file": file,
    }
    storage = graph.services.storage
    with nullcontext() if private is None else storage.private(filename, private):
        if make and disk.size is not None:
            await _make_image(machine, disk, filename)
        node = await open_node(graph, options, active=not graph.incoming)
    await BlockBackend.on(node, name=disk.name)


async def _make_image(machine: Machine, disk: Disk, filename: str) -> None:
    from qmpd.block.model.driver_table import find_creator

    graph = machine.graph
    is_raw = disk.format == "raw"
    file: dict[str, Any] = {"driver": "file", "filename": filename}
    await find_creator("file").create(graph, {**file, "size": 0})
    if is_raw:
        assert disk.size is not None
        # not by the driver, which writes a first block
        image = graph.services.storage.open(filename)
        image.truncate(disk.size)
        image.close()
        return
    from qmpd.options.block_tree import read_tree_value

    given = {CREATE_KEYS[key]: value for key, value in disk.create.items()}
    options = {"driver": disk.format, "file": "", "size": str(disk.size), **given}
    options = read_tree_value(machine.profile.reader, "BlockdevCreateOptions", options, keyval=True)
    await find_creator(disk.format).create(graph, {**options, "file": file})
