"""``-object``: user-creatable objects, and the help about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.cli.report import CommandLineError
from qmpd.errors import GenericError
from qmpd.options.block_tree import parse_tree, read_tree_value
from qmpd.options.keyval import parse_keyval
from qmpd.options.qemu_opts import Opts
from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.qapi.runtime.arguments import Reader

TYPES: Final = {
    Personality.SYSTEM: (
        "acpi-generic-initiator acpi-generic-port authz-list authz-list-file authz-simple can-bus"
        " can-host-socketcan colo-compare cryptodev-backend cryptodev-backend-builtin"
        " cryptodev-vhost-user dbus-vmstate filter-buffer filter-dump filter-mirror"
        " filter-redirector filter-replay filter-rewriter input-barrier input-linux iommufd"
        " iothread main-loop memory-backend-file memory-backend-memfd memory-backend-ram"
        " memory-backend-shm pr-manager-helper qtest rng-builtin rng-egd rng-random secret"
        " secret_keyring sev-guest sev-snp-guest thread-context throttle-group tls-cipher-suites"
        " tls-creds-anon tls-creds-psk tls-creds-x509 x-remote-object"
    ).split(),
    Personality.STORAGE_DAEMON: (
        "authz-list authz-list-file authz-simple iothread main-loop pr-manager-helper secret"
        " secret_keyring thread-context throttle-group tls-creds-anon tls-creds-psk"
        " tls-creds-x509"
    ).split(),
}
"""Names of user-creatable types, as ``-object help`` lists them."""

PROPERTIES: Final = {
    "iothread": (
        "aio-max-batch=<int> poll-grow=<int> poll-max-ns=<int> poll-shrink=<int>"
        " thread-pool-max=<int> thread-pool-min=<int>"
    ),
    "main-loop": "aio-max-batch=<int> thread-pool-max=<int> thread-pool-min=<int>",
    "throttle-group": (
        "limits=<ThrottleLimits> x-bps-read-max-length=<int> x-bps-read-max=<int>"
        " x-bps-read=<int> x-bps-total-max-length=<int> x-bps-total-max=<int> x-bps-total=<int>"
        " x-bps-write-max-length=<int> x-bps-write-max=<int> x-bps-write=<int>"
        " x-iops-read-max-length=<int> x-iops-read-max=<int> x-iops-read=<int> x-iops-size=<int>"
        " x-iops-total-max-length=<int> x-iops-total-max=<int> x-iops-total=<int>"
        " x-iops-write-max-length=<int> x-iops-write-max=<int> x-iops-write=<int>"
    ),
}
"""What ``-object TYPE,help`` prints."""


def object_help(text: str, personality: Personality) -> str | None:
    """The help that `text` asks for; None if it defines an object.

    :raises CommandLineError: the type is not known
    """
    if text.startswith("{"):
        return None
    parsed = parse_keyval(text, "qom-type")
    if not parsed.wants_help:
        return None
    name = parsed.tree.get("qom-type")
    if name is not None and name not in TYPES[personality] and personality is Personality.SYSTEM:
        raise CommandLineError(f"Parameter 'qom-type' does not accept value '{name}'")
    if name is None or name not in TYPES[personality]:
        listed = "".join(f"  {entry}\n" for entry in TYPES[personality])
        return f"List of user creatable objects:\n{listed}"
    if name not in PROPERTIES:
        raise CommandLineError(f"the properties of '{name}' are not known to qmpd")
    lines = "".join(f"  {line}\n" for line in PROPERTIES[str(name)].split())
    return f"{name} options:\n{lines}"


def read_flat_object(reader: Reader, opts: Opts) -> dict[str, Any]:
    """Read the properties of an object from QemuOpts syntax, which has no nested values.

    :raises CommandLineError: with QEMU's text
    """
    values = opts.to_dict()
    nested = [name for name in values if "." in name]
    flat = {name: value for name, value in values.items() if name not in nested}
    try:
        plain = read_tree_value(reader, "ObjectOptions", flat, keyval=True)
    except GenericError as error:
        raise CommandLineError(
            error.desc.replace("expects integer", "expects an int64 value")
            if not error.desc.endswith("' is unexpected")
            else error.desc.replace("Parameter", "Invalid parameter").removesuffix(" is unexpected")
        ) from None
    for name in nested:
        raise CommandLineError(f"Invalid parameter '{name}'")
    return plain


def add_object_of(machine: Machine, properties: Mapping[str, Any]) -> None:
    """Make an object.

    :param properties: with ``qom-type`` and ``id``
    :raises QmpError: with QEMU's text
    """
    rest = dict(properties)
    qom_type, object_id = rest.pop("qom-type"), rest.pop("id")
    machine.objects.add(qom_type, object_id, rest)


def add_object(machine: Machine, text: str) -> None:
    """Make the object that `text` describes.

    :raises CommandLineError: a syntax error
    :raises GenericError: with QEMU's text
    """
    tree = parse_tree(text, "qom-type", machine.profile.parse_json)
    properties = read_tree_value(
        machine.profile.reader, "ObjectOptions", tree, keyval=not text.startswith("{")
    )
    add_object_of(machine, properties)
