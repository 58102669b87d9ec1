"""Requests that come before the event which makes them safe.

Only what the session itself has begun is judged (`qmpd.sim.lint.world`): a job that it has started,
a device or an export that it has told to go.  That a request has worked is no excuse: another time
the event is late.

* ``job-too-early``: a job is completed, finalized or dismissed before it is known to be ready,
  pending or concluded
* ``job-at-work``: a node is removed, or opened as a child, while a job that uses it is not known to
  have ended
* ``job-restarted``: a job is started whose id belongs to one that is not known to have ended
* ``still-going``: what a device or an export uses is removed, or its name used again, before the
  event that it has gone
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from qmpd.sim.lint.effects import JOBS, NAMED, REMOVING, Thing, job_id, parts
from qmpd.sim.lint.finding import Finding
from qmpd.sim.lint.session import Asked, Session
from qmpd.sim.lint.world import ENDED, World


class _Verb(NamedTuple):
    """What a job must have come to before something may be done to it.

    :param statuses: the states in which it may be done
    :param events: what tells that one of them is reached
    :param types: the jobs that this is about; None: all
    """

    statuses: frozenset[str]
    events: str
    types: frozenset[str] | None = None


_CONVERGING: Final = frozenset({"blockdev-mirror", "drive-mirror", "block-commit"})

VERBS: Final[Mapping[str, _Verb]] = {
    "complete": _Verb(
        frozenset({"ready", "standby"}), "BLOCK_JOB_READY (or JOB_STATUS_CHANGE)", _CONVERGING
    ),
    "finalize": _Verb(frozenset({"pending"}), "JOB_STATUS_CHANGE (or BLOCK_JOB_PENDING)"),
    "dismiss": _Verb(frozenset({"concluded"}), "JOB_STATUS_CHANGE"),
}
"""By what follows ``job-`` or ``block-job-`` in the command."""

JOB_ENDS: Final = "BLOCK_JOB_COMPLETED or BLOCK_JOB_CANCELLED (or JOB_STATUS_CHANGE)"
GOES: Final[Mapping[str, str]] = {"device": "DEVICE_DELETED", "export": "BLOCK_EXPORT_DELETED"}
"""The event that tells that something has gone, by its kind."""


def found(session: Session) -> Iterator[Finding]:
    """Requests that came too early."""
    world = World()
    for step in session.steps:
        if isinstance(step, Asked):
            yield from _early(world, step)
            yield from _at_work(world, step)
            yield from _restarted(world, step)
            yield from _going(world, step)
        world.see(step)


def _wait(rule: str, asked: Asked, other: Asked, why: str) -> Finding:
    return Finding("wait", asked.place, asked.command, (), why, see=(other.place,), rule=rule)


def _early(world: World, asked: Asked) -> Iterator[Finding]:
    name = asked.command.removeprefix("block-")
    verb = VERBS.get(name.removeprefix("job-")) if name.startswith("job-") else None
    id_ = str(asked.arguments.get("id", asked.arguments.get("device")))
    job = world.jobs.get(id_)
    if verb is None or job is None or (verb.types is not None and job.command not in verb.types):
        return
    if not job.seen & verb.statuses:
        states = " or ".join(sorted(verb.statuses - {"standby"}))
        why = f"job '{id_}' was not seen to be {states}: {verb.events} tells"
        yield _wait("job-too-early", asked, job.asked, why)


def _at_work(world: World, asked: Asked) -> Iterator[Finding]:
    nodes = set(_opened(asked))
    if asked.command == "blockdev-del":
        nodes = {str(asked.arguments.get("node-name"))}
    for name, job in world.jobs.items():
        creates = job.command == "blockdev-create"
        if job.ended or not job.nodes & nodes or (asked.command == "blockdev-add" and not creates):
            continue
        shared = next(iter(sorted(job.nodes & nodes)))
        told = "was told to end, and " if job.cancelled is not None else ""
        events = "JOB_STATUS_CHANGE" if creates else JOB_ENDS
        why = f"job '{name}', which uses '{shared}', {told}was not seen to end: {events} tells"
        yield _wait("job-at-work", asked, job.cancelled or job.asked, why)


def _opened(asked: Asked) -> Iterator[str]:
    """The nodes that a new one has as children."""
    if asked.command == "blockdev-add":
        yield from (value for value in asked.arguments.values() if isinstance(value, str))


def _restarted(world: World, asked: Asked) -> Iterator[Finding]:
    for command, arguments in parts(asked):
        job = world.jobs.get(job_id(arguments)) if command in JOBS else None
        if job is not None and not job.seen & ENDED:
            why = f"job '{job_id(arguments)}' was not seen to end: {JOB_ENDS} tells"
            yield _wait("job-restarted", asked, job.asked, why)


def _going(world: World, asked: Asked) -> Iterator[Finding]:
    again = None
    if asked.command in NAMED:
        kind, member = NAMED[asked.command]
        again = Thing(kind, str(asked.arguments.get(member)))
    removed = None
    if asked.command in REMOVING:
        removed = str(asked.arguments.get(REMOVING[asked.command][1]))
    for thing, going in world.going.items():
        if thing == again or (removed is not None and removed in going.uses):
            why = f"{thing} was told to go, and not seen to: {GOES[thing.kind]} tells"
            yield _wait("still-going", asked, going.asked, why)
