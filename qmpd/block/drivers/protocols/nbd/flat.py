"""The options of an NBD client as ``-drive`` has them (``nbd_process_options``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.options.qemu_opts import Kind

if TYPE_CHECKING:
    from qmpd.block.model.flat_options import FlatOptions

_OPTIONS: Final = {
    **dict.fromkeys(("host", "port", "path", "export"), Kind.STRING),
    **dict.fromkeys(("tls-creds", "tls-hostname", "x-dirty-bitmap"), Kind.STRING),
    **dict.fromkeys(("reconnect-delay", "open-timeout"), Kind.NUMBER),
}
_ADDRESSES: Final = {
    "inet": ("host", "port"),
    "unix": ("path",),
    "vsock": ("cid", "port"),
    "fd": ("str",),
}
_MORE: Final = {
    "inet": ("numeric", "to", "ipv4", "ipv6", "keep-alive", "mptcp"),
    "unix": ("abstract", "tight"),
}
_FLAGS: Final = ("numeric", "keep-alive", "ipv4", "ipv6", "mptcp", "abstract", "tight")
_DEFAULT_PORT: Final = "10809"


def check_no_place(flat: FlatOptions) -> None:
    """Options that say where the export is go with no file name.

    :raises GenericError: there is one
    """
    for name in flat.order():
        if name in ("host", "port", "path", "export") or name.startswith("server."):
            raise GenericError(f"Option '{name}' cannot be used with a file name")


def take_options(flat: FlatOptions) -> dict[str, Any]:
    """Read them, and take them out.

    :returns: as blockdev-add has them
    :raises GenericError: one is malformed, or they contradict each other
    """
    options = flat.take(_OPTIONS)
    server = flat.extract("server")
    path, host, port = (options.pop(name, None) for name in ("path", "host", "port"))
    if server and {path, host, port} != {None}:
        raise GenericError("Cannot use 'server' and path/host/port at the same time")
    if path is not None and host is not None:
        raise GenericError("path and host may not be used at the same time")
    if path is not None and port is not None:
        raise GenericError("port may not be used without host")
    if path is not None:
        server.update(type="unix", path=path)
    elif host is not None:
        server.update(type="inet", host=host, port=_DEFAULT_PORT if port is None else port)
    if server:
        options["server"] = _address(server)
    return options


def _address(server: FlatOptions) -> dict[str, Any]:
    """A SocketAddress.

    :raises GenericError: it is none
    """
    kind = server.text("type")
    if kind is None:
        raise GenericError("Parameter 'type' is missing")
    if kind not in _ADDRESSES:
        raise GenericError(f"Parameter 'type' does not accept value '{kind}'")
    for name in _ADDRESSES[kind]:
        if name not in server:
            raise GenericError(f"Parameter '{name}' is missing")
    known = {"type", *_ADDRESSES[kind], *_MORE.get(kind, ())}
    for name in server.order():
        if name not in known:
            raise GenericError(f"Parameter '{name}' is unexpected")
    flags = server.take(dict.fromkeys(_FLAGS, Kind.BOOL))
    return {**server, **flags}
