"""Commands of schema module net: a machine of qmpd is on no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.errors import DeviceNotFound, GenericError
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.net import QueryRxFilterArguments, SetLinkArguments


def set_link(context: Context, arguments: SetLinkArguments) -> None:
    """Plug a cable in: there is none."""
    raise DeviceNotFound(f"Device '{arguments.name}' not found")


def query_rx_filter(context: Context, arguments: QueryRxFilterArguments) -> list[object]:
    """What adapters take: there are none."""
    if arguments.name is not None:
        raise GenericError(f"invalid net client name: {arguments.name}")
    return []


def announce_self(context: Context, _: object) -> None:
    """Make adapters known: there are none."""


HANDLERS: Final[Handlers] = {
    "set_link": set_link,
    "query-rx-filter": query_rx_filter,
    "announce-self": announce_self,
}
