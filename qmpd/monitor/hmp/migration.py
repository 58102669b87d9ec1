"""HMP commands for migration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.base.scalars import TooLarge, parse_bool, parse_uint64, read_size
from qmpd.errors import GenericError
from qmpd.machine.migration.address import parse_uri
from qmpd.monitor.hmp.command_table import Arguments, HmpCommand, Suspending, enum_values
from qmpd.monitor.hmp.line import Kind, Parameter
from qmpd.options.qemu_opts import parse_option_size

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine

_BYTES: Final = (
    "throttle-trigger-threshold",
    "cpu-throttle-initial",
    "cpu-throttle-increment",
    "max-cpu-throttle",
    "multifd-channels",
    "multifd-zlib-level",
    "multifd-qatzip-level",
    "multifd-zstd-level",
)
_SIZES: Final = (
    "announce-initial",
    "announce-max",
    "announce-rounds",
    "announce-step",
    "downtime-limit",
    "xbzrle-cache-size",
    "max-postcopy-bandwidth",
    "x-vcpu-dirty-limit-period",
    "vcpu-dirty-limit",
)
_ENUMS: Final = {
    "multifd-compression": "MultiFDCompression",
    "mode": "MigMode",
    "zero-page-detection": "ZeroPageDetection",
}


async def wait_for_migration(machine: Machine, arguments: Arguments) -> str:
    """Without -d, the monitor waits until the migration is over that has just begun."""
    outgoing = machine.migration.outgoing
    if "detach" in arguments or outgoing is None:
        return ""
    return Suspending(
        "",
        outgoing.when_settled,
        "terminal does not allow synchronous migration, continuing detached\n",
    )


def _place(machine: Machine, uri: str) -> dict[str, Any]:
    """Where a guest goes to or comes from, as QMP's commands are told."""
    if machine.profile.rules.holds("migrates-to-uris"):
        return {"uri": uri}
    return {"channels": [{"channel-type": "main", "addr": parse_uri(uri)}]}


def _migrate(machine: Machine, arguments: Arguments) -> tuple[str, dict[str, Any]]:
    return "migrate", {**_place(machine, arguments["uri"]), "resume": "resume" in arguments}


async def migrate_cancel(machine: Machine, _: Arguments) -> str:
    """Cancel the migration that is under way."""
    machine.migration.cancel()
    return ""


async def migrate_continue(machine: Machine, arguments: Arguments) -> str:
    """Let a migration go on that waits."""
    state = arguments["state"]
    if state not in enum_values(machine, "MigrationStatus"):
        raise GenericError(f"invalid parameter value: {state}")
    machine.migration.go_on(state)
    return ""


async def migrate_start_postcopy(machine: Machine, _: Arguments) -> str:
    """Let the guest run at its new place before all is there."""
    machine.migration.start_postcopy()
    return ""


async def migrate_set_capability(machine: Machine, arguments: Arguments) -> str:
    """Say whether a migration may do something."""
    name = arguments["capability"]
    if name not in machine.migration.capabilities:
        raise GenericError(f"invalid parameter value: {name}")
    warnings: list[str] = []
    change = {"capability": name, "state": arguments["state"]}
    machine.migration.set_capabilities([change], warnings.append)
    return "".join(f"{warning}\n" for warning in warnings)


async def migrate_set_parameter(machine: Machine, arguments: Arguments) -> str:
    """Set what a migration goes by."""
    name, text = arguments["parameter"], arguments["value"]
    if name not in machine.migration.parameters:
        raise GenericError(f"invalid parameter value: {name}")
    machine.migration.set_parameters({name: _value(machine, name, text)})
    return ""


def _value(machine: Machine, name: str, text: str) -> Any:
    """What `text` means as the value of a parameter (``hmp_migrate_set_parameter``)."""
    if name == "block-bitmap-mapping":
        raise GenericError("The block-bitmap-mapping parameter can only be set through QMP")
    if name in ("max-bandwidth", "avail-switchover-bandwidth"):
        return _mebibytes(text)
    if name in _BYTES:
        return _number(name, text, 8)
    if name == "x-checkpoint-delay":
        return _number(name, text, 32)
    if name in _SIZES:
        return parse_option_size(name, text)
    if name in ("cpu-throttle-tailslow", "direct-io"):
        try:
            return parse_bool(text)
        except ValueError:
            raise GenericError(f"Parameter '{name}' expects 'on' or 'off'") from None
    if name in _ENUMS and text not in enum_values(machine, _ENUMS[name]):
        raise GenericError(f"Parameter '{name}' does not accept value '{text}'")
    return text


def _mebibytes(text: str) -> int:
    try:
        size, end = read_size(text, 0, "M")
    except ValueError:
        size, end = -1, 0
    if end != len(text) or not 0 <= size < 2**63:
        raise GenericError(f"Invalid size {text}")
    return size


def _number(name: str, text: str, bits: int) -> int:
    try:
        value = parse_uint64(text)
    except TooLarge:
        value = 2**64
    except ValueError:
        raise GenericError(f"Parameter '{name}' expects uint64") from None
    if value >= 1 << bits:
        raise GenericError(f"Parameter '{name}' expects uint{bits}_t")
    return value


_URI: Final = Parameter("uri", Kind.STRING)

MIGRATION: Final = (
    HmpCommand(
        "migrate",
        wait_for_migration,
        (
            Parameter("detach", Kind.FLAG, flag="d"),
            Parameter("resume", Kind.FLAG, flag="r"),
            _URI,
        ),
        "[-d] [-r] uri",
        "migrate to another machine; -d: do not wait until that is over",
        _migrate,
    ),
    HmpCommand("migrate_cancel", migrate_cancel, summary="cancel the migration"),
    HmpCommand(
        "migrate_continue",
        migrate_continue,
        (Parameter("state", Kind.STRING),),
        "state",
        "let a migration go on that waits in this state",
    ),
    HmpCommand(
        "migrate_incoming",
        None,
        (_URI,),
        "uri",
        "wait for the guest of -incoming defer",
        lambda machine, arguments: ("migrate-incoming", _place(machine, arguments["uri"])),
    ),
    HmpCommand(
        "migrate_recover",
        None,
        (_URI,),
        "uri",
        "go on with a postcopy migration that is paused",
        lambda _, arguments: ("migrate-recover", dict(arguments)),
    ),
    HmpCommand(
        "migrate_pause",
        None,
        summary="pause a postcopy migration",
        request=lambda _, __: ("migrate-pause", {}),
    ),
    HmpCommand(
        "migrate_set_capability",
        migrate_set_capability,
        (Parameter("capability", Kind.STRING), Parameter("state", Kind.BOOLEAN)),
        "capability state",
        "say whether a migration may do something",
    ),
    HmpCommand(
        "migrate_set_parameter",
        migrate_set_parameter,
        (Parameter("parameter", Kind.STRING), Parameter("value", Kind.STRING)),
        "parameter value",
        "set what a migration goes by",
    ),
    HmpCommand(
        "migrate_start_postcopy",
        migrate_start_postcopy,
        summary="let the guest run at its new place before all is there",
    ),
)
"""The commands."""
