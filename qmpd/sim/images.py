"""Images that are kept in memory: which there are, and how they go."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qmpd.block.drivers.protocols.file import File
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine


class MemoryImageInfo(NamedTuple):
    """An image in memory.

    :param size: its length in bytes
    :param allocated: bytes of it that take memory; of a file of the host those that were changed
    :param in_use: whether a node has it open
    """

    size: int
    allocated: int
    in_use: bool


def images_in_memory(machine: Machine) -> dict[str, MemoryImageInfo]:
    """The images of a machine that are in memory, or the changes of which are, by their names."""
    used = _open_files(machine)
    return {
        name: MemoryImageInfo(size.length, size.allocated, name in used)
        for name, size in machine.services.storage.usual.sizes().items()
    }


def remove_image(machine: Machine, filename: str) -> None:
    """Remove an image, or the changes of one of the host, from memory.

    :raises LookupError: there is none
    :raises GenericError: a node has it open
    """
    if filename in _open_files(machine):
        raise GenericError(f"Image '{filename}' is in use")
    machine.services.storage.usual.remove(filename)


def _open_files(machine: Machine) -> set[str]:
    return {node.driver.filename for node in machine.graph.nodes() if isinstance(node.driver, File)}
