"""Commands of schema module net: backends are known by their ids, and lead nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.base.identifiers import id_wellformed
from qmpd.errors import DeviceNotFound, GenericError, NotServed
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.net import (
        Netdev,
        NetdevDelArguments,
        QueryRxFilterArguments,
        SetLinkArguments,
    )


def netdev_add(context: Context, arguments: Netdev) -> None:
    """Note a backend; only those that need nothing of the host.

    :raises NotServed: for other kinds
    """
    backends = context.machine.devices.netdevs
    if arguments.type in ("none", "nic", "netmap"):
        raise GenericError(f"network backend '{arguments.type}' is not compiled into this binary")
    if not id_wellformed(arguments.id):
        raise GenericError("Parameter 'id' expects an identifier")
    if arguments.id in backends:
        raise GenericError(f"Duplicate ID '{arguments.id}'")
    if arguments.type not in ("user", "hubport"):
        raise NotServed(f"Network backends of type '{arguments.type}' are not served by qmpd")
    backends.add(arguments.id)


def netdev_del(context: Context, arguments: NetdevDelArguments) -> None:
    """Forget a backend."""
    backends = context.machine.devices.netdevs
    if arguments.id not in backends:
        raise DeviceNotFound(f"Device '{arguments.id}' not found")
    backends.remove(arguments.id)


def set_link(context: Context, arguments: SetLinkArguments) -> None:
    """Plug a cable in, or pull it out: nobody sees it."""
    if arguments.name not in context.machine.devices.netdevs:
        raise DeviceNotFound(f"Device '{arguments.name}' not found")


def query_rx_filter(context: Context, arguments: QueryRxFilterArguments) -> list[object]:
    """What adapters take: there are none."""
    name = arguments.name
    if name in context.machine.devices.netdevs:
        raise GenericError(f"net client({name}) isn't a NIC")
    if name is not None:
        raise GenericError(f"invalid net client name: {name}")
    return []


def announce_self(context: Context, _: object) -> None:
    """Make adapters known: there are none."""


HANDLERS: Final[Handlers] = {
    "netdev_add": netdev_add,
    "netdev_del": netdev_del,
    "set_link": set_link,
    "query-rx-filter": query_rx_filter,
    "announce-self": announce_self,
}
