"""Arguments that only other versions than the default one know: what is served of them.

Handlers are written for the default version.  A member that another version has in addition would
be accepted and ignored by them, so it is refused here, unless something says that it is served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from qmpd.qapi.runtime.type_table import (
    BUILTINS,
    AlternateInfo,
    EnumInfo,
    ObjectInfo,
    TypeTable,
    array_element,
    json_kind,
)

SERVED: Final = frozenset(
    {
        # QEMU 11
        ("BackupCommon", "on-cbw-error"),
        ("BlockdevBackup", "on-cbw-error"),
        ("DriveBackup", "on-cbw-error"),
        ("BlockdevBackupArguments", "on-cbw-error"),
        ("DriveBackupArguments", "on-cbw-error"),
        ("QueryBlockArguments", "flat"),
        ("QomListGetArguments", "paths"),
        ("BlockdevMirrorArguments", "target-is-zero"),
        ("BlockExportOptions", "iothread"),
        ("BlockExportAddArguments", "iothread"),
        ("IothreadProperties", "poll-weight"),
        ("MigMode", "cpr-exec"),
        ("MigrationParameters", "x-rdma-chunk-size"),
        ("MigrationParameters", "cpr-exec-command"),
        ("MigrationStatus", "failing"),
        ("MigrationStatus", "postcopy-device"),
        # of migrations, until 9.0
        ("MigrationCapability", "compress"),
        ("MigrationCapability", "block"),
        ("MigrateSetParameters", "compress-level"),
        ("MigrateSetParameters", "compress-threads"),
        ("MigrateSetParameters", "compress-wait-thread"),
        ("MigrateSetParameters", "decompress-threads"),
        ("MigrateSetParameters", "block-incremental"),
        # of trace events, until 9.0
        ("TraceEventGetStateArguments", "vcpu"),
        ("TraceEventSetStateArguments", "vcpu"),
        # commands of 5.2
        ("BlockPasswdArguments", "device"),
        ("BlockPasswdArguments", "node-name"),
        ("BlockPasswdArguments", "password"),
        ("MigrateSetSpeedArguments", "value"),
        ("MigrateSetDowntimeArguments", "value"),
        ("MigrateSetCacheSizeArguments", "value"),
        # addresses of the NBD server stand in another place of the type
        ("NbdServerOptionsLegacy", "addr"),
        ("NbdServerOptionsBase", "addr"),
        # says nothing where it is known
        ("SecretProperties", "loaded"),
        ("SecretKeyringProperties", "loaded"),
        ("TlsCredsAnonProperties", "loaded"),
        ("TlsCredsPskProperties", "loaded"),
        ("TlsCredsX509Properties", "loaded"),
    }
)
"""Members that the default version does not have, and that are served nonetheless."""


def unserved(
    table: TypeTable, form: TypeTable, type_name: str, value: Any
) -> Iterator[tuple[str, str]]:
    """Members and values in `value` that only `table` has, and that are not served.

    :param table: the types of the version
    :param form: those of the default one
    :param type_name: of the value, a reference; the value has been checked
    :returns: each as the name of what holds it, and its own
    """
    element = array_element(type_name)
    if element is not None:
        for item in value:
            yield from unserved(table, form, element, item)
        return
    info = table.get(type_name)
    match info:
        case AlternateInfo():
            reference = info.by_kind[json_kind(value)]
            known = form.get(type_name)
            if isinstance(known, AlternateInfo) and json_kind(value) not in known.by_kind:
                yield type_name, reference
            yield from unserved(table, form, reference, value)
        case EnumInfo():
            known = form.get(type_name)
            new = isinstance(known, EnumInfo) and value not in known.values
            if new and (type_name, value) not in SERVED:
                yield type_name, value
        case ObjectInfo():
            yield from _members(table, form, info, value)


def _is_of(
    table: TypeTable, form: TypeTable, known: str | None, type_name: str, value: Any
) -> bool:
    """Whether `value`, of type `type_name`, is what the default version has in its place, too."""
    choices = table.get(type_name)
    if known is None or known == type_name or type_name in form:
        return True
    if isinstance(choices, AlternateInfo) and known in BUILTINS:
        return choices.by_kind[json_kind(value)] == known
    return True


def _members(
    table: TypeTable, form: TypeTable, info: ObjectInfo, value: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    other = form.get(info.name)
    known = {m.name: m.type for m in other.members} if isinstance(other, ObjectInfo) else {}
    for member in info.members:
        if member.name not in value:
            continue
        new = member.name not in known and other is not None
        usual = known.get(member.name)
        new = new or not _is_of(table, form, usual, member.type, value[member.name])
        if new and (info.name, member.name) not in SERVED:
            yield info.name, member.name
        yield from unserved(table, form, member.type, value[member.name])
    if info.tag is not None:
        branch = info.branches.get(value[info.tag])
        if branch is not None:
            yield from _members(table, form, table.object(branch), value)
