"""What requests make, use and remove: the tables that the rules about a client rest on.

A thing has a kind and a name.  The same members of requests may name a node, a device, an object or
a character device, so that such a name is taken for each of them; jobs, exports and bitmaps have
names of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from qmpd.sim.lint.session import Asked

Arguments = Mapping[str, Any]


class Thing(NamedTuple):
    """Something with a name that a request makes.

    :param kind: node, bitmap, job, device, object, export, chardev or NBD server
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}'" if self.name else self.kind


NBD_SERVER: Final = Thing("NBD server", "")

JOBS: Final = frozenset(
    {
        "block-commit",
        "block-stream",
        "blockdev-backup",
        "blockdev-create",
        "blockdev-mirror",
        "drive-backup",
        "drive-mirror",
        "snapshot-delete",
        "snapshot-load",
        "snapshot-save",
        "x-blockdev-amend",
    }
)
"""Commands that start a job."""

BACKUPS: Final = frozenset({"blockdev-backup", "drive-backup"})

NAMED: Final[Mapping[str, tuple[str, str]]] = {
    "object-add": ("object", "id"),
    "chardev-add": ("chardev", "id"),
    "device_add": ("device", "id"),
    "block-export-add": ("export", "id"),
    "blockdev-snapshot-sync": ("node", "snapshot-node-name"),
}
"""Commands that make something whose name is an argument: its kind, and the argument."""

REMOVING: Final[Mapping[str, tuple[str, str]]] = {
    "blockdev-del": ("node", "node-name"),
    "object-del": ("object", "id"),
    "chardev-remove": ("chardev", "id"),
    "netdev_del": ("netdev", "id"),
    "device_del": ("device", "id"),
    "block-export-del": ("export", "id"),
    "nbd-server-remove": ("export", "name"),
    "block-dirty-bitmap-remove": ("bitmap", "name"),
}
"""Commands that remove something, in the same way."""

CLEANING: Final = frozenset(
    {
        *REMOVING,
        "block-job-cancel",
        "block-job-dismiss",
        "eject",
        "job-cancel",
        "job-dismiss",
        "migrate_cancel",
        "nbd-server-stop",
        "quit",
    }
)
"""Commands that clients send to leave nothing behind, however far they have got."""


def parts(asked: Asked) -> Iterator[tuple[str, Arguments]]:
    """The command of a request and its arguments; of a transaction those of its actions."""
    if asked.command != "transaction":
        yield asked.command, asked.arguments
        return
    actions = asked.arguments.get("actions")
    for action in actions if isinstance(actions, list) else ():
        if isinstance(action, dict) and isinstance(action.get("data"), dict):
            yield str(action.get("type")), action["data"]


def made(asked: Asked) -> Iterator[Thing]:
    """What a request makes, if it succeeds."""
    for command, arguments in parts(asked):
        if command in JOBS:
            yield Thing("job", job_id(arguments))
        elif command == "blockdev-add":
            yield from _nodes(arguments)
        elif command == "block-dirty-bitmap-add":
            yield bitmap(arguments.get("node"), arguments.get("name"))
        elif command == "nbd-server-start":
            yield NBD_SERVER
        elif command == "nbd-server-add":
            yield Thing("export", str(arguments.get("name", arguments.get("device"))))
        elif command in NAMED:
            kind, member = NAMED[command]
            if member in arguments:
                yield Thing(kind, str(arguments[member]))


def job_id(arguments: Arguments) -> str:
    """The id of the job that a command starts: that of its device if it is not said."""
    return str(arguments.get("job-id", arguments.get("device")))


def bitmap(node: Any, name: Any) -> Thing:
    """A bitmap of a node."""
    return Thing("bitmap", f"{node}/{name}")


def _nodes(options: Arguments) -> Iterator[Thing]:
    """The nodes that are made of options, with their children."""
    if isinstance(options.get("node-name"), str):
        yield Thing("node", options["node-name"])
    for value in options.values():
        for child in value if isinstance(value, list) else (value,):
            if isinstance(child, dict):
                yield from _nodes(child)


def used(asked: Asked) -> Iterator[Thing]:
    """What a request names that has to be there; a name may be one of several kinds of things."""
    for command, arguments in parts(asked):
        yield from _USES.get(command, _texts)(arguments)
        if command in ("nbd-server-add", "block-export-add"):
            yield NBD_SERVER


def _texts(arguments: Arguments) -> Iterator[Thing]:
    """All texts among arguments: a name that was to be made is seldom anything else."""
    for name, value in arguments.items():
        for item in value if isinstance(value, list) else (value,):
            if isinstance(item, dict):
                yield from _texts(item)
            elif isinstance(item, str) and name not in _MADE_BY:
                yield from (Thing(kind, item) for kind in ("node", "device", "object", "chardev"))
    node = arguments.get("node", arguments.get("device"))
    if isinstance(arguments.get("bitmap"), str):
        yield bitmap(node, arguments["bitmap"])


_MADE_BY: Final = frozenset({"job-id", "name", "node-name", "snapshot-node-name"})
"""Members that name what is made, or what has names of its own."""


def _bitmap_arguments(arguments: Arguments) -> Iterator[Thing]:
    node = arguments.get("node")
    yield Thing("node", str(node))
    yield bitmap(node, arguments.get("name", arguments.get("target")))
    sources = arguments.get("bitmaps")
    for source in sources if isinstance(sources, list) else ():
        if isinstance(source, dict):
            yield bitmap(source.get("node"), source.get("name"))
        else:
            yield bitmap(node, source)


def _job_arguments(arguments: Arguments) -> Iterator[Thing]:
    yield Thing("job", str(arguments.get("id", arguments.get("device"))))


def _new_bitmap(arguments: Arguments) -> Iterator[Thing]:
    yield Thing("node", str(arguments.get("node")))


JOB_VERBS: Final = ("cancel", "complete", "dismiss", "finalize", "pause", "resume")

_USES: Final[Mapping[str, Callable[[Arguments], Iterator[Thing]]]] = {
    "block-dirty-bitmap-add": _new_bitmap,
    "block-dirty-bitmap-clear": _bitmap_arguments,
    "block-dirty-bitmap-disable": _bitmap_arguments,
    "block-dirty-bitmap-enable": _bitmap_arguments,
    "block-dirty-bitmap-merge": _bitmap_arguments,
    "block-dirty-bitmap-remove": _bitmap_arguments,
    "block-job-set-speed": _job_arguments,
    "block-job-change": _job_arguments,
    **{f"{kind}-{verb}": _job_arguments for kind in ("job", "block-job") for verb in JOB_VERBS},
}
