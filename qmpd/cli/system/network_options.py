"""``-netdev``, ``-nic`` and ``-net``: checked as QEMU checks them; no network comes of it.

QEMU reads most of them by QemuOpts and the newer types by keyval; each has messages of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

from qmpd.cli.report import CommandLineError, Probe
from qmpd.cli.system.given import Given
from qmpd.cli.system.listings import recorded_help
from qmpd.errors import GenericError
from qmpd.options.block_tree import parse_tree
from qmpd.options.keyval import parse_keyval
from qmpd.options.qemu_opts import OptionGroup, Opts, parse_opts, silent

if TYPE_CHECKING:
    from qmpd.profile import Profile

NETDEV: Final = OptionGroup("netdev", "type", None)
NIC: Final = OptionGroup("nic", "type", None)
NET: Final = OptionGroup("net", "type", None)

MODERN: Final = ("stream", "dgram")
"""Types that are read by keyval, as JSON is."""

NIC_MODELS: Final = frozenset(
    "e1000 e1000-82544gc e1000-82545em e1000e i82550 i82551 i82557a i82557b i82557c i82558a"
    " i82558b i82559a i82559b i82559c i82559er i82562 i82801 igb ne2k_isa ne2k_pci pcnet rtl8139"
    " tulip virtio virtio-net-pci virtio-net-pci-non-transitional virtio-net-pci-transitional"
    " vmxnet3".split(" ")
)
"""Network adapters that the PCs make for ``-nic`` and ``-net nic``."""

_NIC_HELP: Final = sorted(
    {*NIC_MODELS, "usb-net", "virtio-net-device", "xen-net-device"} - {"virtio"}
)
"""Those that ``-nic help`` lists: also what no PC makes, and no abbreviations."""

_MAC: Final = r"[0-9A-Fa-f]{1,2}([:-][0-9A-Fa-f]{1,2}){5}"
_SOCKET_WAYS: Final = ("fd", "listen", "connect", "mcast", "udp")


def check_netdev(text: str, given: Given) -> None:
    """Check one ``-netdev``.

    :raises CommandLineError: with QEMU's text
    :raises Probe: it asks for the types
    """
    if _is_tree(text, given.profile):
        tree = _tree(text)
        given.profile.reader.read_plain("Netdev", tree, keyval=not text.startswith("{"))
        if tree["type"] == "dgram" and "local" not in tree and "remote" not in tree:
            raise GenericError("dgram requires local= parameter")
        _check_compiled(tree["type"], given)
        return
    opts = _parse(NETDEV, text, given)
    if opts.wants_help or opts.get("type") in ("help", "?"):
        raise Probe(recorded_help(given.profile, "netdev"))
    if opts.id is None:
        raise GenericError("Parameter 'id' is missing")
    _check_compiled(_check_opts(list(opts), given), given)


def _parse(group: OptionGroup, text: str, given: Given) -> Opts:
    """Read flat options, whose id no other use of the option has."""
    opts = parse_opts(group, text, given.warn_of_form, ids=given.ids(group.name))
    if opts.id is not None:
        given.ids(group.name).add(opts.id)
    return opts


def netdev_of(text: str, profile: Profile) -> tuple[str, str]:
    """The id and the type of a ``-netdev`` that has been checked."""
    if _is_tree(text, profile):
        tree = _tree(text)
        return str(tree["id"]), str(tree["type"])
    opts = parse_opts(NETDEV, text, silent)
    return str(opts.id), str(opts.get("type"))


def check_nic(text: str, given: Given) -> None:
    """Check one ``-nic``: a backend, and the adapter that it belongs to."""
    opts = _parse(NIC, text, given)
    values = list(opts)
    kind = opts.get("type")
    if kind == "none":
        return
    if opts.wants_help:
        if not given.profile.rules.holds("nic-help"):
            values = [("type", text.split(",")[0])]
        else:
            title = "Available NIC models (use -nic model=help for a filtered list):"
            lines = [recorded_help(given.profile, "netdev"), title, *_NIC_HELP, ""]
            raise Probe("\n".join(lines))
    elif kind is None:
        values.append(("type", "user"))
    if opts.get("model") in ("help", "?"):
        return
    _check_mac(opts.get("mac"))
    values = [pair for pair in values if pair[0] not in ("mac", "model")]
    _check_compiled(_check_opts(values, given), given)


def check_net(text: str, given: Given) -> None:
    """Check one ``-net``: a backend or an adapter on hub 0."""
    opts = _parse(NET, text, given)
    values = [("type", text.split(",")[0])] if opts.wants_help else list(opts)
    backend = _check_opts(values, given)
    if backend == "hubport" and not given.profile.rules.holds("backends-are-types"):
        raise GenericError(f"network backend '{backend}' is only supported with -netdev/-nic")
    if backend not in ("none", "nic"):
        wrong = "a net backend type (maybe it is not compiled into this binary)"
        _check_compiled(backend if backend != "hubport" else "", given, wrong)
    _check_mac(opts.get("macaddr"))


Check = Callable[[str, Given], None]


def _check(group: OptionGroup, check: Check, text: str, given: Given) -> None:
    """Check one use of an option; some versions do not tell which it was."""
    if not given.profile.rules.holds("networks-are-not-located"):
        check(text, given)
        return
    # what cannot be parsed is located as with any other option
    parse_opts(group, text, silent, ids=given.ids(group.name))
    try:
        check(text, given)
    except GenericError as error:
        raise CommandLineError(error.desc, error.hint, location="") from None


CHECKS: Final[Mapping[str, Check]] = {
    "netdev": partial(_check, NETDEV, check_netdev),
    "nic": partial(_check, NIC, check_nic),
    "net": partial(_check, NET, check_net),
}


def _is_tree(text: str, profile: Profile) -> bool:
    """Whether a ``-netdev`` is read as JSON or by keyval."""
    if profile.rules.holds("networks-are-flat"):
        return False
    words = dict(word.partition("=")[::2] for word in text.split(",") if "=" in word)
    return text.startswith("{") or words.get("type", text.split(",")[0]) in MODERN


def _tree(text: str) -> dict[str, Any]:
    if text.startswith("{"):
        return parse_tree(text, None)
    return dict(parse_keyval(text, "type").tree)


def _check_mac(text: str | None) -> None:
    if text is None:
        return
    if not re.fullmatch(_MAC, text):
        raise GenericError("invalid syntax for ethernet address")
    if int(re.split("[:-]", text)[0], 16) & 1:
        raise GenericError("NIC cannot have multicast MAC address")


def _check_compiled(backend: str, given: Given, expected: str = "a netdev backend type") -> None:
    if backend not in recorded_help(given.profile, "netdev").splitlines()[1:]:
        if given.profile.rules.holds("backends-are-types"):
            raise GenericError(f"Parameter 'type' expects {expected}")
        raise GenericError(f"network backend '{backend}' is not compiled into this binary")


def _check_opts(values: Iterable[tuple[str, str]], given: Given) -> str:
    """Check flat parameters; returns the type of the backend."""
    parameters = [("id", ""), *values]
    prefix = next((value for name, value in reversed(parameters) if name == "ipv6-net"), None)
    if prefix is not None:
        parameters = [pair for pair in parameters if pair[0] != "ipv6-net"]
        parameters.append(("ipv6-prefix", prefix.partition("/")[0]))
    netdev = given.profile.reader.read_flat("Netdev", parameters)
    backend = str(netdev["type"])
    if backend == "socket" and sum(way in netdev for way in _SOCKET_WAYS) != 1:
        raise GenericError("exactly one of listen=, connect=, mcast= or udp= is required")
    if backend == "vhost-vdpa" and "vhostdev" not in netdev and "vhostfd" not in netdev:
        raise GenericError("vhost-vdpa: neither vhostdev= nor vhostfd= was specified")
    if backend == "user" and netdev.get("ipv4", True) is netdev.get("ipv6", True) is False:
        raise GenericError("IPv4 and IPv6 disabled")
    return backend


# What QEMU warns of when the machine has been made


def network_warnings(
    given: Mapping[str, list[str]], *, has_adapters: bool, random: Random, profile: Profile
) -> Iterator[str]:
    """What is left without a peer (``net_check_clients``).

    :param given: the values of ``-netdev``, ``-nic`` and ``-net``
    :param has_adapters: whether the machine makes the adapters that are asked for
    """
    names = _Names(None if profile.rules.holds("networks-are-counted") else random)
    lonely: list[str] = []
    missing: list[tuple[str, str]] = []
    hub, hosts, adapters = [], 0, 0
    ports: list[str] = []
    taken = set()
    for text in given.get("net", ()):
        opts = parse_opts(NET, text, silent)
        backend, model = opts.get("type"), opts.get("model")
        if backend == "none":
            continue
        made = has_adapters and (model is None or model in NIC_MODELS)
        name = opts.id or names.new("net")
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
        name, backend = netdev_of(text, profile)
        if name not in taken:
            lonely.append(name)
            if backend == "hubport":
                ports.append(name)
    for text in given.get("nic", ()):
        opts = parse_opts(NIC, text, silent)
        model = opts.get("model")
        if opts.get("type") == "none" or model in ("help", "?"):
            continue
        name = opts.id or names.new("nic")
        if not has_adapters or (model is not None and model not in NIC_MODELS):
            lonely.append(name)
            missing.append(("anonymous", model or "unspecified"))
            if opts.get("type") == "hubport":
                ports.append(name)
    yield from (f"hub port {port} has no peer" for port in [*hub, *ports])
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


class _Names:
    """Names for what has none (``id_generate``).

    :param random: makes names that nobody can know; None: they are counted
    """

    def __init__(self, random: Random | None) -> None:
        self._random = random
        self._counts: Counter[str] = Counter()

    def new(self, option: str) -> str:
        """One for a use of ``-net`` or ``-nic``."""
        counted = option if self._random is None else ""
        number = self._counts[counted]
        self._counts[counted] += 1
        if self._random is None:
            return f"__org.qemu.{option}{number}"
        return f"#net{number}{self._random.randrange(100):02}"
