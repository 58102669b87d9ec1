"""Socket addresses as people write them: ``tcp:HOST:PORT``, ``unix:PATH``, ``fd:NAME``."""

from __future__ import annotations

import re
from typing import Any, Final

from qmpd.base.scalars import decimal_number
from qmpd.errors import GenericError
from qmpd.options.qemu_opts import Kind, OptionGroup, parse_opts, silent

_PLACES: Final = (
    (re.compile(r":(?P<port>[^,]{1,32})"), "error parsing port in address"),
    (re.compile(r"\[(?P<host>[^\]]{1,64})\]:(?P<port>[^,]{1,32})"), "error parsing IPv6 address"),
    (re.compile(r"(?P<host>[^:]{1,64}):(?P<port>[^,]{1,32})"), "error parsing address"),
)
"""How an Internet address is written: without a host, with an IPv6 address, with any other."""

_TO: Final = re.compile(r"\s*(?P<port>[+-]?\d+)(?=,|$)")
_VSOCK: Final = re.compile(r"(?P<cid>[^:]{1,32}):(?P<port>[^,]{1,32})")


_INET: Final = OptionGroup(
    "inet",
    "addr",
    {
        "addr": Kind.STRING,
        "ipv4": Kind.BOOL,
        "ipv6": Kind.BOOL,
        "to": Kind.NUMBER,
        "numeric": Kind.BOOL,
        "keep-alive": Kind.BOOL,
        "keep-alive-count": Kind.NUMBER,
        "keep-alive-idle": Kind.NUMBER,
        "keep-alive-interval": Kind.NUMBER,
        "mptcp": Kind.BOOL,
    },
)


def parse_socket_address(
    text: str, *, by_options: bool = False, knows_tcp: bool = True
) -> dict[str, Any]:
    """The SocketAddress that `text` means (``socket_parse``).

    :param knows_tcp: whether it may begin with ``tcp:``, rather than with a host of that name
    :param by_options: whether what follows a place is read as other options are
    :raises GenericError: it means none
    """
    if text.startswith("unix:"):
        if text == "unix:":
            raise GenericError("invalid Unix socket address")
        return {"type": "unix", "path": text.removeprefix("unix:")}
    if text.startswith("fd:"):
        if text == "fd:":
            raise GenericError("invalid file descriptor address")
        return {"type": "fd", "str": text.removeprefix("fd:")}
    if text.startswith("vsock:"):
        return _vsock(text.removeprefix("vsock:"))
    place = text.removeprefix("tcp:") if knows_tcp else text
    return _inet_of_options(place) if by_options else _inet(place)


def _inet_of_options(text: str) -> dict[str, Any]:
    """``inet_parse`` since 10.1."""
    opts = parse_opts(_INET, text, silent)
    place = opts.get("addr") or ""
    pattern, wrong = _PLACES[0 if place[:1] == ":" else 1 if place[:1] == "[" else 2]
    found = pattern.fullmatch(place)
    if found is None:
        raise GenericError(f"{wrong.replace('port in ', '')} '{place}'")
    parts = found.groupdict()
    address: dict[str, Any] = {"type": "inet", "host": parts.get("host", ""), "port": parts["port"]}
    for name, _ in opts:
        kind = (_INET.kinds or {})[name]
        if kind is Kind.BOOL:
            address[name] = opts.flag(name)
        elif kind is Kind.NUMBER:
            address[name] = opts.number(name)
    return address


def _inet(place: str) -> dict[str, Any]:
    """``inet_parse``."""
    pattern, wrong = _PLACES[0 if place[:1] == ":" else 1 if place[:1] == "[" else 2]
    found = pattern.match(place)
    if found is None:
        raise GenericError(f"{wrong} '{place}'")
    parts = found.groupdict()
    address = {"type": "inet", "host": parts.get("host", ""), "port": parts["port"]}
    options = place[found.end() :]
    return {**address, **_to(options), **_flags(options)}


def _to(options: str) -> dict[str, int]:
    _, given, rest = options.partition(",to=")
    if not given:
        return {}
    found = _TO.match(rest)
    if found is None:
        raise GenericError("error parsing to= argument")
    return {"to": decimal_number(found["port"])}


def _flags(options: str) -> dict[str, bool]:
    flags = {}
    for name in ("ipv4", "ipv6", "keep-alive", "mptcp"):
        _, given, rest = options.partition(f",{name}")
        if not given:
            continue
        value = rest.partition(",")[0]
        if value not in ("", "=on", "=off") or rest[len(value) :].startswith(",,"):
            raise GenericError(f"error parsing '{name}' flag '{rest}'")
        flags[name] = value != "=off"
    return flags


def _vsock(place: str) -> dict[str, Any]:
    """``vsock_parse``."""
    found = _VSOCK.match(place)
    if found is None:
        raise GenericError(f"error parsing address '{place}'")
    if found.end() != len(place):
        raise GenericError(f"trailing characters in address '{place}'")
    return {"type": "vsock", **found.groupdict()}
