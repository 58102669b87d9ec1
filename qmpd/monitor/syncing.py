"""Commands that wait for disks, and who has his turn meanwhile.

QEMU's main loop stands still while a command flushes an image, but for what is served from
inside of it: requests of exports' clients, jobs, timers.  Here a thread waits for the disk, twice:

* What has been written by then is flushed before the command begins.  It has changed nothing
  and looked at nothing, so all others have their turn, as if it had come later.
* What the command itself has to flush in the middle of its work is waited for as in QEMU: no other
  command is begun, for it might see half of what this one changes.  Those of `LOOKS` are.

Commands that are not listed wait for no disk, or for so little that a thread is not worth it, or
belong to the snapshots of a machine, in whose middle even the run state is not what it seems.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.machine.machine import Machine

T = TypeVar("T")

Names = Callable[[Mapping[str, Any]], Iterable[str | None]]
"""Finds in a command's arguments the names of nodes and devices that it may flush."""


def _by(*members: str) -> Names:
    """The values of these members."""
    return lambda arguments: [arguments.get(member) for member in members]


def _reopened(arguments: Mapping[str, Any]) -> Iterable[str | None]:
    return [options.get("node-name") for options in arguments["options"]]


def _of_actions(arguments: Mapping[str, Any]) -> Iterable[str | None]:
    return [
        name
        for action in arguments["actions"]
        if (find := ACTIONS.get(action["type"])) is not None
        for name in find(action["data"])
    ]


ACTIONS: Final[Mapping[str, Names]] = {
    "blockdev-snapshot": _by("node", "overlay"),
    "blockdev-snapshot-internal-sync": _by("device"),
    "blockdev-snapshot-sync": _by("device", "node-name"),
}
"""Actions of a transaction that flush."""

SYNCS: Final[Mapping[str, Names]] = {
    **ACTIONS,
    "block-commit": _by(),
    "block-dirty-bitmap-remove": _by(),
    "block-stream": _by(),
    "blockdev-add": _by(),
    "block_resize": _by("device", "node-name"),
    "blockdev-change-medium": _by("device", "id"),
    "blockdev-del": _by("node-name"),
    "blockdev-remove-medium": _by("id"),
    "blockdev-reopen": _reopened,
    "blockdev-set-active": _by("node-name"),
    "blockdev-snapshot-delete-internal-sync": _by("device"),
    "change-backing-file": _by("image-node-name"),
    "drive-backup": _by(),
    "drive-mirror": _by(),
    "eject": _by("device", "id"),
    "transaction": _of_actions,
}
"""Commands of QMP that wait for disks."""

LOOKS: Final = frozenset(
    (
        "qmp_capabilities",
        "query-chardev",
        "query-chardev-backends",
        "query-command-line-options",
        "query-commands",
        "query-iothreads",
        "query-kvm",
        "query-machines",
        "query-name",
        "query-qmp-schema",
        "query-status",
        "query-target",
        "query-uuid",
        "query-version",
    )
)
"""Commands that look at nothing which a command that waits for a disk may change."""


async def run_syncing(
    machine: Machine, command: str, arguments: Mapping[str, Any], work: Coroutine[Any, Any, T]
) -> T:
    """Run a command of `SYNCS`.

    :param arguments: as they came, already validated
    :param work: the command, which has yet to begin
    :raises Exception: whatever it raises
    """
    try:
        await flush_ahead(machine, SYNCS[command](arguments))
    except BaseException:
        work.close()
        raise
    return await machine.clock.completions.patiently(work)


async def flush_ahead(machine: Machine, names: Iterable[str | None]) -> None:
    """Flush what is going to be flushed; the command must not have begun.

    :param names: of nodes and devices; there need not be such
    """
    named = [name for name in names if name is not None]
    if not named or machine.clock.completions.threads is None:
        return
    try:
        from qmpd.block.io.sync_ahead import flush_ahead as flush
    except (OSError, ImportError, MemoryError):
        # there are no descriptors or no memory to load it: the command is to give some back
        return
    # a command of the human monitor may be among those that have their turn
    with machine.complaints.of_others():
        await flush(list(_nodes(machine, named)))


def _nodes(machine: Machine, names: Iterable[str]) -> Iterator[Node]:
    from qmpd.block.io.backends import backend_of_device, find_backend

    graph = machine.graph
    for name in names:
        backend = find_backend(graph, name) or backend_of_device(graph, name)
        node = graph.find_node(name) if backend is None else backend.node
        if node is not None:
            yield node
