"""Where a stream goes to or comes from: URIs, and what a transport cannot do."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from qmpd.base.scalars import TooLarge, parse_size
from qmpd.errors import GenericError
from qmpd.options.socket_address import parse_socket_address

Address = Mapping[str, Any]
"""A MigrationAddress, plain JSON values."""

_URI: Final = re.compile(r"[A-Za-z]*:")
_OFFSET: Final = ",offset="


def is_uri(text: str) -> bool:
    """Whether `text` is a URI, not a list of options (``migrate_is_uri``)."""
    return _URI.match(text) is not None


def parse_uri(uri: str) -> dict[str, Any]:
    """The MigrationAddress that a URI means (``migrate_uri_parse``).

    :raises GenericError: it means none
    """
    if uri.startswith("exec:"):
        return {"transport": "exec", "args": ["/bin/sh", "-c", uri.removeprefix("exec:")]}
    if uri.startswith("rdma:"):
        place = parse_socket_address(f"tcp:{uri.removeprefix('rdma:')}")
        return {**place, "transport": "rdma"}
    if uri.startswith(("tcp:", "unix:", "vsock:", "fd:")):
        return {"transport": "socket", **parse_socket_address(uri)}
    if uri.startswith("file:"):
        filename, given, text = uri.removeprefix("file:").partition(_OFFSET)
        return {
            "transport": "file",
            "filename": filename,
            "offset": _parse_offset(text) if given else 0,
        }
    raise GenericError(f"unknown migration protocol: {uri}")


def _parse_offset(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        code = errno.ERANGE if isinstance(error, TooLarge) else errno.EINVAL
        raise GenericError(f"file URI has bad offset {text}: {os.strerror(code)}") from None


def check_transport(address: Address, capability: Callable[[str], bool], mode: str) -> None:
    """``migration_channels_and_transport_compatible``.

    :param capability: whether a migration may do something
    :param mode: parameter ``mode``
    :raises GenericError: what the migration is to do needs another transport
    """
    transport = address["transport"]
    if capability("mapped-ram") and transport != "file":
        raise GenericError("Migration requires seekable transport (e.g. file)")
    several = capability("multifd") or capability("postcopy-preempt")
    if several and not _several(address, capability):
        raise GenericError("Migration requires multi-channel URIs (e.g. tcp)")
    if mode == "cpr-transfer" and transport == "file":
        raise GenericError("Migration requires streamable transport (eg unix)")


def _several(address: Address, capability: Callable[[str], bool]) -> bool:
    if address["transport"] == "socket":
        return address["type"] in ("inet", "unix", "vsock")
    return address["transport"] == "file" and capability("mapped-ram")


def main_address(uri: str | None, channels: Sequence[Mapping[str, Any]] | None) -> Address:
    """The address that migrate-incoming is given.

    :raises GenericError: not exactly one is given, or it is none
    """
    if (uri is None) == (not channels):
        raise GenericError("need either 'uri' or 'channels' argument")
    if channels:
        if len(channels) > 1:
            raise GenericError("Channel list must have only one entry, for type 'main'")
        address: Address = channels[0]["addr"]
        return address
    assert uri is not None
    return parse_uri(uri)
