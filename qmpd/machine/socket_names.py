"""Socket addresses as clients write them, and the descriptors that they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qmpd.errors import GenericError
from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from qmpd.base.descriptor import Descriptor
    from qmpd.machine.chardevs import TakeDescriptor


def flat_address(address: Mapping[str, Any]) -> dict[str, Any]:
    """A SocketAddressLegacy as a SocketAddress (``socket_address_flatten``)."""
    return {"type": address["type"], **address["data"]}


def named_descriptor(personality: Personality, name: str, take: TakeDescriptor) -> Descriptor:
    """The descriptor that an address of type fd names (``socket_get_fd``).

    :raises GenericError: no client has handed it over, or the program takes none
    """
    if personality is Personality.STORAGE_DAEMON:
        raise GenericError("only QEMU supports file descriptor passing")
    return take(name)
