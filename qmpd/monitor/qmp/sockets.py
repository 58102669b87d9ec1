"""Socket addresses in the arguments of commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qmpd.errors import GenericError
from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from qmpd.monitor.qmp.handlers import Context


def with_descriptor(context: Context, address: Mapping[str, Any]) -> dict[str, Any]:
    """A SocketAddress whose descriptor, where it names one, is taken from the monitor.

    :param address: its members, plain JSON values
    :returns: the same with ``descriptor``, see `qmpd.server.address.read_address`
    :raises GenericError: no client has handed it over (``socket_get_fd``)
    """
    if address["type"] != "fd":
        return dict(address)
    if context.machine.personality is Personality.STORAGE_DAEMON:
        raise GenericError("only QEMU supports file descriptor passing")
    return {**address, "descriptor": context.descriptors.take(address["str"])}
