"""``-numa``: what is wrong is told as QEMU tells it; NUMA nodes are not served."""

from __future__ import annotations

from typing import Final

from qmpd.cli.report import CommandLineError
from qmpd.cli.system.given import Given
from qmpd.options.qemu_opts import OptionGroup

_GROUP: Final = OptionGroup("numa", "type", None)
_PARAMETERS: Final = {
    "node": "nodeid cpus mem memdev initiator",
    "dist": "src! dst! val!",
    "cpu": "node-id socket-id drawer-id book-id die-id cluster-id module-id core-id thread-id",
    "hmat-lb": "initiator! target! hierarchy! data-type! latency bandwidth",
    "hmat-cache": "node-id! size! level! associativity! policy! line!",
}
"""Parameters by type; ``!`` needed."""


def check_numa(text: str, given: Given) -> None:
    """Check one ``-numa``; what it does to the machine is told by `refuse_numa`.

    :raises CommandLineError: with QEMU's text
    """
    opts = given.parse(_GROUP, text)
    kind = text if opts.wants_help else opts.get("type")
    if kind is None:
        raise CommandLineError("Parameter 'type' is missing")
    if kind not in _PARAMETERS:
        raise CommandLineError(f"Parameter 'type' does not accept value '{kind}'")
    known = _PARAMETERS[kind].split()
    for name in known:
        if name.endswith("!") and opts.get(name[:-1]) is None:
            raise CommandLineError(f"Parameter '{name[:-1]}' is missing")
    for name, _ in opts:
        if name != "type" and name not in known and f"{name}!" not in known:
            raise CommandLineError(f"Invalid parameter '{name}'")


def refuse_numa(location: str, *, has_hardware: bool) -> None:
    """A machine with NUMA nodes is not there.

    :raises CommandLineError: always
    """
    if has_hardware:
        raise CommandLineError("NUMA nodes (-numa) are not served by qmpd", location=location)
    raise CommandLineError("NUMA is not supported by this machine-type", location=location)
