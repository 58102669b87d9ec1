"""Names of exports of NBD servers (``nbd_parse_filename``)."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from qmpd.errors import GenericError

_SCHEMES: Final = ("nbd", "nbd+tcp", "nbd+unix")

_DEFAULT_PORT: Final = 10809
_EXPORT: Final = ":exportname="

_BEGINNINGS: Final = (
    ("IPv6 address", re.compile(r"\[([^\]]{1,64})\]:([^,]{1,32})")),
    ("address", re.compile(r"([^:]{1,64}):([^,]{1,32})")),
)


def nbd_options(name: str) -> dict[str, Any]:
    """The options of the node that a name means, as far as it says them.

    :raises GenericError: the name is malformed
    """
    options: dict[str, Any] = {}
    if "://" in name:
        try:
            return options | _of_uri(name)
        except ValueError:
            raise GenericError("No valid URL specified") from None
    place, separator, export = name.partition(_EXPORT)
    if separator:
        if not export:
            return options
        options["export"] = export
    if not place.startswith("nbd:"):
        raise GenericError("File name string for NBD must start with 'nbd:'")
    place = place.removeprefix("nbd:")
    if place.startswith("unix:"):
        options["server"] = {"type": "unix", "path": place.removeprefix("unix:")}
    elif place:
        options["server"] = _inet(place)
    return options


def _inet(text: str) -> dict[str, str]:
    """An address as HOST:PORT (``inet_parse``); options behind it have no effect on a client.

    :raises GenericError: it is malformed
    """
    if text.startswith(":"):
        port = re.match(r":([^,]{1,32})", text)
        if port is None:
            raise GenericError(f"error parsing port in address '{text}'")
        return {"type": "inet", "host": "", "port": port[1]}
    what, pattern = _BEGINNINGS[0 if text.startswith("[") else 1]
    found = pattern.match(text)
    if found is None:
        raise GenericError(f"error parsing {what} '{text}'")
    _check_inet_options(text[found.end() :])
    return {"type": "inet", "host": found[1], "port": found[2]}


def _check_inet_options(text: str) -> None:
    _, last, rest = text.partition(",to=")
    if last and re.match(r"\s*[+-]?\d+(,|$)", rest) is None:
        raise GenericError("error parsing to= argument")
    for name in ("ipv4", "ipv6", "keep-alive"):
        _, flag, rest = text.partition(f",{name}")
        if flag and re.match(r"(=(on|off))?(,|$)", rest) is None:
            raise GenericError(f"error parsing '{name}' flag '{rest}'")


def _of_uri(name: str) -> dict[str, Any]:
    """The options that a URI says.

    :raises ValueError: it is malformed, or not of NBD
    """
    scheme, _, rest = name.partition(":")
    if scheme not in _SCHEMES:
        raise ValueError(scheme)
    rest = rest.partition("#")[0]
    rest, asks, query = rest.partition("?")
    if not rest.startswith("//"):
        raise ValueError(rest)
    authority, slash, path = rest[2:].partition("/")
    host, port = _authority(authority)
    options: dict[str, Any] = {"export": _decoded(path)} if slash and path else {}
    parameters = _parameters(_decoded(query)) if asks else {}
    if scheme == "nbd+unix":
        if host or port is not None or list(parameters) != ["socket"]:
            raise ValueError(name)
        options["server"] = {"type": "unix", "path": parameters["socket"]}
        return options
    if not host or parameters:
        raise ValueError(name)
    options["server"] = {"type": "inet", "host": host, "port": str(port or _DEFAULT_PORT)}
    return options


def _authority(text: str) -> tuple[str, int | None]:
    """Host and port."""
    text = text.rpartition("@")[2]
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        if rest and not rest.startswith(":"):
            raise ValueError(text)
        separator, port = rest[:1], rest[1:]
    else:
        host, separator, port = text.partition(":")
    if not separator or not port:
        return _decoded(host), None
    if re.fullmatch("[0-9]+", port) is None or int(port) > 65535:
        raise ValueError(port)
    return _decoded(host), int(port)


def _parameters(query: str) -> dict[str, str]:
    found = {}
    for part in query.split("&") if query else []:
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(part)
        found[_decoded(name)] = _decoded(value)
    return found


def _decoded(text: str) -> str:
    """`text` without its percent signs.

    :raises ValueError: they are malformed
    """
    if re.search("%(?![0-9A-Fa-f]{2})|%00", text):
        raise ValueError(text)
    return unquote_to_bytes(text).decode()
