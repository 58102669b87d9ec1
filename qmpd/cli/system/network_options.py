"""``-netdev``, ``-nic`` and ``-net``: checked as QEMU checks them; no network comes of it.

QEMU reads most of them by QemuOpts and the newer types by keyval; each has messages of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, Final, NamedTuple

from qmpd.cli.report import CommandLineError, Probe
from qmpd.cli.system.given import Given
from qmpd.cli.system.listings import recorded_help
from qmpd.options.block_tree import parse_tree
from qmpd.options.keyval import parse_keyval
from qmpd.options.qemu_opts import OptionGroup, parse_opts

NETDEV: Final = OptionGroup("netdev", "type", None)
NIC: Final = OptionGroup("nic", "type", None)
NET: Final = OptionGroup("net", "type", None)

BACKENDS: Final = {
    "nic": "netdev macaddr model addr vectors:u",
    "user": "hostname restrict:b ipv4:b ipv6:b ip net host tftp bootfile dhcpstart dns dnssearch"
    " domainname ipv6-prefix ipv6-prefixlen:i ipv6-host ipv6-dns smb smbserver hostfwd guestfwd"
    " tftp-server-name ipv6-net",
    "tap": "ifname fd fds script downscript br helper sndbuf vnet_hdr:b vhost:b vhostfd vhostfds"
    " vhostforce:b queues:u poll-us:u",
    "l2tpv3": "src! dst! srcport dstport ipv6:b udp:b cookie64:b counter:b pincounter:b txcookie:u"
    " rxcookie:u txsession:u! rxsession:u offset:u",
    "socket": "fd listen connect mcast localaddr udp",
    "stream": "addr! server:b reconnect reconnect-ms",
    "dgram": "local remote",
    "vde": "sock port:u group mode:u",
    "bridge": "br helper",
    "hubport": "hubid:i! netdev",
    "netmap": "ifname! devname",
    "vhost-user": "chardev! vhostforce:b queues:i",
    "vhost-vdpa": "vhostdev vhostfd queues:i x-svq:b",
    "none": "",
}
"""Parameters by the types of backends; ``:b`` boolean, ``:i`` and ``:u`` numbers, ``!`` needed."""

MODERN: Final = ("stream", "dgram")
"""Types that are read by keyval, as JSON is."""

NIC_MODELS: Final = frozenset(
    "e1000 e1000-82544gc e1000-82545em e1000e i82550 i82551 i82557a i82557b i82557c i82558a"
    " i82558b i82559a i82559b i82559c i82559er i82562 i82801 igb ne2k_isa ne2k_pci pcnet rtl8139"
    " tulip virtio virtio-net-pci virtio-net-pci-non-transitional virtio-net-pci-transitional"
    " vmxnet3".split(" ")
)
"""Network adapters that the PCs make for ``-nic`` and ``-net nic``."""

_MAC: Final = r"[0-9A-Fa-f]{1,2}([:-][0-9A-Fa-f]{1,2}){5}"
_BOOLEANS: Final = ("on", "yes", "true", "y", "off", "no", "false", "n")
_SOCKET_WAYS: Final = ("fd", "listen", "connect", "mcast", "udp")


class _Parameter(NamedTuple):
    name: str
    kind: str
    needed: bool


def _parameters(backend: str) -> list[_Parameter]:
    found = []
    for word in BACKENDS[backend].split():
        name, _, kind = word.rstrip("!").partition(":")
        found.append(_Parameter(name, kind, word.endswith("!")))
    return found


def check_netdev(text: str, given: Given) -> None:
    """Check one ``-netdev``.

    :raises CommandLineError: with QEMU's text
    :raises Probe: it asks for the types
    """
    if text.startswith("{"):
        _check_tree(dict(parse_tree(text, None)), given)
        return
    tree = dict(parse_keyval(text, "type").tree) if _is_modern(text) else None
    if tree is not None:
        _check_tree(tree, given)
        return
    opts = given.parse(NETDEV, text)
    if opts.wants_help or opts.get("type") in ("help", "?"):
        raise Probe(recorded_help(given.profile, "netdev"))
    if opts.id is None:
        raise CommandLineError("Parameter 'id' is missing")
    _check_compiled(_check_opts(dict(opts)), given)


def netdev_id(text: str) -> str:
    """The id of a ``-netdev`` that has been checked."""
    if text.startswith("{") or _is_modern(text):
        tree = parse_tree(text, None) if text.startswith("{") else parse_keyval(text, "type").tree
        return str(tree["id"])
    return str(parse_opts(NETDEV, text, lambda *_: None).id)


def check_nic(text: str, given: Given) -> None:
    """Check one ``-nic``: a backend, and the adapter that it belongs to."""
    opts = given.parse(NIC, text)
    values = dict(opts)
    if values.get("type") == "none":
        return
    if opts.wants_help:
        raise Probe(recorded_help(given.profile, "netdev"))
    values.setdefault("type", "user")
    if values.pop("model", None) in ("help", "?"):
        return
    _check_mac(values.pop("mac", None))
    _check_compiled(_check_opts(values), given)


def check_net(text: str, given: Given) -> None:
    """Check one ``-net``: a backend or an adapter on hub 0."""
    opts = given.parse(NET, text)
    values = dict(opts)
    if opts.wants_help:
        values["type"] = text.split(",")[0]
    backend = _check_opts(values)
    if backend == "hubport":
        raise CommandLineError(f"network backend '{backend}' is only supported with -netdev/-nic")
    if backend not in ("none", "nic"):
        _check_compiled(backend, given)
    _check_mac(opts.get("macaddr"))


CHECKS: Final[Mapping[str, Callable[[str, Given], None]]] = {
    "netdev": check_netdev,
    "nic": check_nic,
    "net": check_net,
}


def _is_modern(text: str) -> bool:
    words = dict(word.partition("=")[::2] for word in text.split(",") if "=" in word)
    return words.get("type", text.split(",")[0]) in MODERN


def _check_mac(text: str | None) -> None:
    if text is None:
        return
    if not re.fullmatch(_MAC, text):
        raise CommandLineError("invalid syntax for ethernet address")
    if int(re.split("[:-]", text)[0], 16) & 1:
        raise CommandLineError("NIC cannot have multicast MAC address")


def _check_compiled(backend: str, given: Given) -> None:
    if backend not in recorded_help(given.profile, "netdev").splitlines()[1:]:
        raise CommandLineError(f"network backend '{backend}' is not compiled into this binary")


def _check_opts(values: dict[str, str]) -> str:
    """Check parameters that QemuOpts has read; returns the type of the backend."""
    backend = values.pop("type", None)
    if backend is None:
        raise CommandLineError("Parameter 'type' is missing")
    if backend not in BACKENDS:
        raise CommandLineError(f"Parameter 'type' does not accept value '{backend}'")
    given = dict(values)
    for parameter in _parameters(backend):
        value = values.pop(parameter.name, None)
        if value is None:
            if parameter.needed:
                raise CommandLineError(f"Parameter '{parameter.name}' is missing")
        elif parameter.kind == "b" and value not in _BOOLEANS:
            raise CommandLineError(f"Parameter '{parameter.name}' expects 'on' or 'off'")
        elif parameter.kind in ("i", "u"):
            _check_number(parameter, value)
    for name in values:
        raise CommandLineError(f"Invalid parameter '{name}'")
    if backend == "socket" and sum(way in given for way in _SOCKET_WAYS) != 1:
        raise CommandLineError("exactly one of listen=, connect=, mcast= or udp= is required")
    return backend


def _check_number(parameter: _Parameter, value: str) -> None:
    try:
        int(value, 0)
    except ValueError:
        expected = "an int64 value" if parameter.kind == "i" else "a uint64 value"
        raise CommandLineError(f"Parameter '{parameter.name}' expects {expected}") from None


def _check_tree(tree: dict[str, Any], given: Given) -> None:
    """Check parameters that keyval or JSON has read."""
    for name in ("id", "type"):
        if name not in tree:
            raise CommandLineError(f"Parameter '{name}' is missing")
        if not isinstance(tree[name], str):
            raise CommandLineError(f"Invalid parameter type for '{name}', expected: string")
    backend = tree["type"]
    if backend not in BACKENDS:
        raise CommandLineError(f"Parameter 'type' does not accept value '{backend}'")
    parameters = _parameters(backend)
    for parameter in parameters:
        if parameter.needed and parameter.name not in tree:
            raise CommandLineError(f"Parameter '{parameter.name}' is missing")
    known = {"id", "type", *(parameter.name for parameter in parameters)}
    for name in tree:
        if name not in known:
            raise CommandLineError(f"Parameter '{name}' is unexpected")
    if backend == "dgram" and "local" not in tree and "remote" not in tree:
        raise CommandLineError("dgram requires local= parameter")
    _check_compiled(backend, given)


# What QEMU warns of when the machine has been made


def network_warnings(
    given: Mapping[str, list[str]], *, has_adapters: bool, random: Random
) -> Iterator[str]:
    """What is left without a peer (``net_check_clients``).

    :param given: the values of ``-netdev``, ``-nic`` and ``-net``
    :param has_adapters: whether the machine makes the adapters that are asked for
    """
    names = _Names(random)
    lonely: list[str] = []
    missing: list[tuple[str, str]] = []
    hub, hosts, adapters = [], 0, 0
    taken = set()
    for text in given.get("net", ()):
        opts = parse_opts(NET, text, _silent)
        backend, model = opts.get("type"), opts.get("model")
        if backend == "none":
            continue
        made = has_adapters and (model is None or model in NIC_MODELS)
        name = opts.id or names.new()
        netdev = opts.get("netdev")
        if backend != "nic":
            hosts += 1
        elif made:
            adapters += 1
        else:
            missing.append((name, model or "unspecified"))
            if netdev is None:
                hub.append("hub0port0")
        if netdev is not None and made:
            taken.add(netdev)
    for text in given.get("netdev", ()):
        name = _id_of(text)
        if name not in taken:
            lonely.append(name)
    for text in given.get("nic", ()):
        opts = parse_opts(NIC, text, _silent)
        model = opts.get("model")
        if opts.get("type") == "none" or model in ("help", "?"):
            continue
        name = opts.id or names.new()
        if not has_adapters or (model is not None and model not in NIC_MODELS):
            lonely.append(name)
            missing.append(("anonymous", model or "unspecified"))
    yield from (f"hub port {port} has no peer" for port in hub)
    if hosts and not adapters:
        yield "hub 0 with no nics"
    if adapters and not hosts:
        yield "hub 0 is not connected to host network"
    yield from (f"netdev {name} has no peer" for name in [*hub, *lonely])
    for name, model in missing:
        yield (
            f"requested NIC ({name}, model {model}) was not created"
            " (not supported by this machine?)"
        )


def _silent(_text: str, _hint: str | None) -> None:
    pass


def _id_of(text: str) -> str:
    tree = parse_tree(text, None) if text.startswith("{") else parse_keyval(text, "type").tree
    return str(tree.get("id"))


class _Names:
    """Names for what has none (``id_generate``)."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._count = 0

    def new(self) -> str:
        number, self._count = self._count, self._count + 1
        return f"#net{number}{self._random.randrange(100):02}"
