"""HMP commands for migration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.base.scalars import parse_bool, parse_int64, parse_uint64, read_size
from qmpd.errors import GenericError
from qmpd.machine.migration.address import parse_uri
from qmpd.monitor.hmp.command_table import Arguments, HmpCommand, Suspending, enum_values
from qmpd.monitor.hmp.line import Kind, Parameter
from qmpd.monitor.hmp.shell_words import shell_words
from qmpd.options.qemu_opts import parse_option_size
from qmpd.qapi.runtime.type_table import INT_RANGES, NOT_A_VALUE, EnumInfo

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine


async def wait_for_migration(machine: Machine, arguments: Arguments) -> str:
    """Without -d, the monitor waits until the migration is over that has just begun."""
    outgoing = machine.migration.outgoing
    if "detach" in arguments or outgoing is None:
        return ""
    if machine.profile.rules.holds("monitors-say-nothing-of-waiting"):
        refusal = ""
    else:
        refusal = "terminal does not allow synchronous migration, continuing detached\n"
    return Suspending(
        "",
        outgoing.when_settled,
        refusal,
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
        return _mebibytes(machine, text)
    if name == "cpr-exec-command":
        return shell_words(text)
    types = machine.profile.types
    # since 11.1 what is set is the same as what is told
    info = types.object(next(one for one in _SETTINGS if one in types))
    kind = next(member.type for member in info.members if member.name == name)
    match kind:
        case "int":
            return _int64(name, text)
        case "uint8" | "uint32":
            return _number(name, text, kind)
        case "uint64" | "size":
            size = parse_option_size(name, text, machine.profile.rules.sizes)
            if name == "xbzrle-cache-size" and size >= 2**63:
                raise GenericError(f"Invalid size {text}")
            return size
        case "bool":
            return _boolean(name, text)
    enum = types.get(kind)
    if isinstance(enum, EnumInfo) and text not in enum.values:
        raise GenericError(NOT_A_VALUE.format(name=name, value=text))
    return text


_SETTINGS: Final = ("MigrateSetParameters", "MigrationParameters")


def _mebibytes(machine: Machine, text: str) -> int:
    try:
        size, end = read_size(text, 0, "M", machine.profile.rules.sizes)
    except ValueError:
        size, end = -1, 0
    if end != len(text) or not 0 <= size < 2**63:
        raise GenericError(f"Invalid size {text}")
    return size


def _int64(name: str, text: str) -> int:
    try:
        return parse_int64(text)
    except ValueError:
        raise GenericError(f"Parameter '{name}' expects int64") from None


def _number(name: str, text: str, kind: str) -> int:
    try:
        value = parse_uint64(text)
    except ValueError:
        raise GenericError(f"Parameter '{name}' expects uint64") from None
    if value > INT_RANGES[kind][1]:
        raise GenericError(f"Parameter '{name}' expects {kind}_t")
    return value


def _boolean(name: str, text: str) -> bool:
    try:
        return parse_bool(text)
    except ValueError:
        raise GenericError(f"Parameter '{name}' expects 'on' or 'off'") from None


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
        (
            Parameter("parameter", Kind.STRING),
            Parameter("value", Kind.STRING, rule="parameters-are-words"),
            Parameter("value", Kind.REST, rule="parameters-are-lines"),
        ),
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
