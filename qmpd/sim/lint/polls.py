"""The same asked again and again, where an event tells.

* ``poll``: a question at least `FEW` times in a row, the last time after the client was sent the
  event that tells.  Not so if that was because of the event: at once, as the client's own pace
  goes.  (A client may ask how far a job has come, for no event tells; it stops at the event.)
* ``retry``: a request that was refused at least `FEW` times in a row until it worked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

from qmpd.sim.lint.finding import Finding
from qmpd.sim.lint.session import Asked, Session, Told

FEW: Final = 3

AT_ONCE: Final = 0.1
"""A question so soon after an event, as a part of the usual time between two, is its answer."""

_JOB_EVENTS: Final = (
    "BLOCK_JOB_CANCELLED",
    "BLOCK_JOB_COMPLETED",
    "BLOCK_JOB_PENDING",
    "BLOCK_JOB_READY",
)

POLLED: Final[Mapping[str, tuple[str, ...]]] = {
    "query-block-jobs": _JOB_EVENTS,
    "query-jobs": (*_JOB_EVENTS, "JOB_STATUS_CHANGE"),
    "query-block-exports": ("BLOCK_EXPORT_DELETED",),
    "query-block": ("DEVICE_DELETED", "DEVICE_TRAY_MOVED"),
    "query-pci": ("DEVICE_DELETED",),
    "qom-list": ("DEVICE_DELETED",),
    "query-migrate": ("MIGRATION",),
    "query-status": ("RESUME", "SHUTDOWN", "STOP"),
}
"""Questions, and the events that tell of what may be waited for with them."""

_LASTING: Final = frozenset({"concluded", "pending", "ready"})
"""Statuses of jobs that are waited for; the others come on the way."""

RETRIED: Final[Mapping[str, str]] = {
    "blockdev-del": "BLOCK_JOB_COMPLETED, DEVICE_DELETED or BLOCK_EXPORT_DELETED",
    "block-job-complete": "BLOCK_JOB_READY",
    "job-complete": "BLOCK_JOB_READY",
    "block-job-dismiss": "JOB_STATUS_CHANGE",
    "job-dismiss": "JOB_STATUS_CHANGE",
    "block-job-finalize": "BLOCK_JOB_PENDING",
    "job-finalize": "JOB_STATUS_CHANGE",
    "device_add": "DEVICE_DELETED",
    "block-export-add": "BLOCK_EXPORT_DELETED",
    "object-del": "DEVICE_DELETED",
}
"""Requests that may be refused until an event has come, and the event."""


def found(session: Session) -> Iterator[Finding]:
    """Loops, by client."""
    requests: dict[str, list[Asked]] = {}
    events: dict[str, list[Told]] = {}
    for step in session.steps:
        if isinstance(step, Asked):
            requests.setdefault(step.client, []).append(step)
        elif isinstance(step, Told):
            events.setdefault(step.client, []).append(step)
    for client, asked in requests.items():
        for run in _runs(asked):
            if run[0].command in POLLED:
                yield from _polls(run, events.get(client, ()))
            else:
                yield from _retries(run)


def _runs(requests: Sequence[Asked]) -> Iterator[list[Asked]]:
    """Requests in a row that ask for the same."""
    run: list[Asked] = []
    for asked in requests:
        if run and (run[0].command, run[0].arguments) != (asked.command, asked.arguments):
            yield run
            run = []
        run.append(asked)
    if run:
        yield run


def _polls(run: Sequence[Asked], events: Sequence[Told]) -> Iterator[Finding]:
    if len(run) < FEW:
        return
    telling = POLLED[run[0].command]
    for event in events:
        if event.event not in telling or not run[0].place < event.place < run[-1].place:
            continue
        status = event.data.get("status")
        if event.event == "JOB_STATUS_CHANGE" and status not in _LASTING:
            continue
        before = [asked for asked in run if asked.place < event.place]
        after = run[len(before)]
        if len(before) < FEW - 1 or _is_because_of(event, after, before):
            continue
        why = f"asked {len(run)} times in a row, and {event.event} has told"
        places = (run[-1].place, event.place)
        yield Finding("wait", run[0].place, run[0].command, (), why, see=places, rule="poll")
        return


def _is_because_of(event: Told, after: Asked, before: Sequence[Asked]) -> bool:
    pace = median(b.time - a.time for a, b in pairwise(before))
    return after.time - event.time < pace * AT_ONCE


def _retries(run: Sequence[Asked]) -> Iterator[Finding]:
    event = RETRIED.get(run[0].command)
    refused = [asked for asked in run if asked.failed]
    if event is None or len(refused) < FEW or not run[-1].succeeded:
        return
    why = f"refused {len(refused)} times until it worked: {event} tells when"
    see = (run[-1].place,)
    yield Finding("wait", run[0].place, run[0].command, (), why, see=see, rule="retry")
