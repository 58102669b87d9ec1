"""Socket addresses in the arguments of commands."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from qmpd.base.descriptor import DescriptorName
from qmpd.machine.socket_names import named_descriptor
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
    take, personality = context.descriptors.take, context.machine.personality
    return {**address, "descriptor": named_descriptor(personality, address["str"], take)}


def with_names(context: Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of nodes, in which servers may be reached by descriptors of the monitor.

    :param options: BlockdevOptions, plain JSON values
    """
    found = {
        name: with_names(context, value) if isinstance(value, Mapping) else value
        for name, value in options.items()
    }
    server = found.get("server")
    if isinstance(server, dict) and server.get("type") == "fd":
        found["server"] = {**server, "str": _named(context, server["str"])}
    return found


def _named(context: Context, name: str) -> str:
    if context.machine.personality is Personality.STORAGE_DAEMON:
        return name
    return DescriptorName(name, partial(context.descriptors.take, name))
