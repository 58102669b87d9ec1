"""What a session has begun, and what its clients have seen of it: jobs, and things that are going.

An event counts as seen once any client was sent it; so does an answer that shows the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from qmpd.sim.lint.effects import JOBS, REMOVING, Arguments, Thing, job_id, parts
from qmpd.sim.lint.session import Answer, Asked, Step, Told

ENDED: Final = frozenset({"concluded", "null"})
"""Statuses of a job that is at an end."""

_STATUS_OF_EVENT: Final[Mapping[str, tuple[str, str]]] = {
    "BLOCK_JOB_READY": ("device", "ready"),
    "BLOCK_JOB_PENDING": ("id", "pending"),
    "BLOCK_JOB_COMPLETED": ("device", "concluded"),
    "BLOCK_JOB_CANCELLED": ("device", "concluded"),
}
"""Events of block jobs: the member that has the job's id, and the status that they tell."""

_GONE: Final[Mapping[str, tuple[str, str]]] = {
    "DEVICE_DELETED": ("device", "device"),
    "DEVICE_UNPLUG_GUEST_ERROR": ("device", "device"),
    "BLOCK_EXPORT_DELETED": ("export", "id"),
}
"""Events after which a thing is going no more: its kind, and the member that has its name."""

_NODES_OF_JOB: Final = ("device", "target", "base-node", "top-node")


@dataclass
class Job:
    """A job that the session has started.

    :param asked: the request that has started it
    :param command: of that, or of its action
    :param nodes: names of nodes and devices that it uses
    :param seen: statuses that were seen
    :param cancelled: the request that it be cancelled
    """

    asked: Asked
    command: str
    nodes: frozenset[str]
    seen: set[str] = field(default_factory=set)
    cancelled: Asked | None = None

    @property
    def ended(self) -> bool:
        """Whether it was seen that it is at an end."""
        return bool(self.seen & ENDED)


@dataclass
class Going:
    """Something that was told to go, and whose end was not seen.

    :param uses: names of what it uses
    """

    asked: Asked
    uses: frozenset[str]


class World:
    """What there is to know of a session so far: `see` each step of it in its order."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.going: dict[Thing, Going] = {}
        self._uses: dict[Thing, frozenset[str]] = {}

    @property
    def at_work(self) -> bool:
        """Whether a job is not known to have ended."""
        return any(not job.ended for job in self.jobs.values())

    def see(self, step: Step) -> None:
        """Take a step into account."""
        if isinstance(step, Asked):
            self._ask(step)
        elif isinstance(step, Told):
            self._tell(step)
        elif step.error is not None:
            self._fail(step.asked)
        else:
            self._answer(step)

    def _ask(self, asked: Asked) -> None:
        # events may come before the answer, so that what is asked for counts as begun
        for command, arguments in parts(asked):
            if command in JOBS:
                self.jobs[job_id(arguments)] = Job(asked, command, _nodes(command, arguments))
            elif command == "device_add":
                texts = (value for name, value in arguments.items() if name != "id")
                uses = frozenset(text for text in texts if isinstance(text, str))
                self._uses[Thing("device", str(arguments.get("id")))] = uses
            elif command in ("block-export-add", "nbd-server-add"):
                node = str(arguments.get("node-name", arguments.get("device")))
                name = arguments.get("id", arguments.get("name", node))
                self._uses[Thing("export", str(name))] = frozenset({node})
        thing = leaving(asked)
        if thing is not None:
            self.going[thing] = Going(asked, self._uses.get(thing, frozenset()))
        job = self.jobs.get(str(asked.arguments.get("id", asked.arguments.get("device"))))
        if job is not None and asked.command in ("job-cancel", "block-job-cancel"):
            job.cancelled = asked

    def _fail(self, asked: Asked) -> None:
        for name in [name for name, job in self.jobs.items() if job.asked is asked]:
            del self.jobs[name]
        for thing in [thing for thing, going in self.going.items() if going.asked is asked]:
            del self.going[thing]

    def _answer(self, answer: Answer) -> None:
        command, value = answer.asked.command, answer.value
        known = [info for info in value if isinstance(info, dict)] if _is_list(value) else []
        if command in ("query-jobs", "query-block-jobs"):
            self._look_at_jobs(answer.asked, known)
        elif command == "query-block":
            self._look_at_devices(known)
        elif command == "query-block-exports":
            there = {str(info.get("id")) for info in known}
            self._went("export", lambda name: name not in there)
        elif command == "nbd-server-stop":
            # it comes back when all exports have gone
            self._went("export", lambda name: True)

    def _went(self, kind: str, is_gone: Any) -> None:
        for thing in [t for t in self.going if t.kind == kind and is_gone(t.name)]:
            del self.going[thing]

    def _tell(self, told: Told) -> None:
        data = told.data
        if told.event in _GONE:
            kind, member = _GONE[told.event]
            self.going.pop(Thing(kind, str(data.get(member))), None)
            return
        if told.event == "JOB_STATUS_CHANGE":
            name, status = str(data.get("id")), str(data.get("status"))
        elif told.event in _STATUS_OF_EVENT:
            member, status = _STATUS_OF_EVENT[told.event]
            name = str(data.get(member))
        else:
            return
        if name in self.jobs:
            self.jobs[name].seen.add(status)

    def _look_at_jobs(self, asked: Asked, infos: list[dict[str, Any]]) -> None:
        shown = {str(info.get("id", info.get("device"))): str(info.get("status")) for info in infos}
        for name, job in self.jobs.items():
            started = job.asked.answer
            if name in shown:
                job.seen.add(shown[name])
            elif started is not None and started.place < asked.place:
                job.seen.add("null")

    def _look_at_devices(self, infos: list[dict[str, Any]]) -> None:
        """Learn which nodes the devices of the command line have."""
        for info in infos:
            inserted = info.get("inserted")
            if isinstance(inserted, dict):
                node = frozenset({str(inserted.get("node-name"))})
                for part in str(info.get("qdev")).split("/"):
                    self._uses.setdefault(Thing("device", part), node)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def leaving(asked: Asked) -> Thing | None:
    """What a request tells to go which is gone only when an event has told so."""
    if asked.command not in ("device_del", "block-export-del", "nbd-server-remove"):
        return None
    kind, member = REMOVING[asked.command]
    return Thing(kind, str(asked.arguments.get(member)).rpartition("/")[2])


def _nodes(command: str, arguments: Arguments) -> frozenset[str]:
    """Names of the nodes and devices that a job uses."""
    options = arguments.get("options")
    if command == "blockdev-create" and isinstance(options, dict):
        values = [options.get("file"), options.get("data-file")]
    else:
        values = [arguments.get(name) for name in _NODES_OF_JOB]
    return frozenset(value for value in values if isinstance(value, str))
