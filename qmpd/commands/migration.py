"""Commands of schema modules migration and yank: the ones that may be executed out of band."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.commands.registry import CommandTable, Context
from qmpd.errors import DeviceNotFound, GenericError

if TYPE_CHECKING:
    from qmpd.models.migration import MigrateRecoverArguments
    from qmpd.models.yank import YankArguments

MIGRATION = CommandTable()


@MIGRATION.command("migrate-pause")
def migrate_pause(context: Context, _: None) -> None:
    """Pause a postcopy migration: a machine of qmpd is never in one."""
    raise GenericError(
        "migrate-pause is currently only supported during postcopy-active or postcopy-recover state"
    )


@MIGRATION.command("migrate-recover")
def migrate_recover(context: Context, _: MigrateRecoverArguments) -> None:
    """Recover a paused postcopy migration: there is none."""
    raise GenericError("Migrate recover can only be run when postcopy is paused.")


@MIGRATION.command("query-yank")
def query_yank(context: Context, _: None) -> list[dict[str, object]]:
    """Nothing of qmpd's can hang on a connection, so there is nothing to yank."""
    return []


@MIGRATION.command("yank")
def yank(context: Context, arguments: YankArguments) -> None:
    """Cut the connections named; none exists.

    :raises DeviceNotFound: for any instance
    """
    if arguments.instances:
        raise DeviceNotFound("Instance not found")
