"""Errors after which a client goes on as if there had been none.

That a client has read an error cannot be seen, so only what cannot be meant is told:

* ``not-made``: what a request was to make (a node, a bitmap, a job, ...) was not made, and a later
  request of the same client uses it nevertheless, and fails because it is not there;
* ``backup-lost``: a backup could not be started, or has ended with an error, and the client clears
  the bitmap of what was to be saved.

It is no finding when a request fails that removes something or ends something (clients clean up
without knowing how far they have got), when the same is asked again, when what was to be made is
there already, or when nothing uses it: then the client may have asked to see whether it can.  A
client that ends after an error has told somebody of it, as far as one can see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from qmpd.sim.lint.effects import (
    BACKUPS,
    CLEANING,
    Arguments,
    Thing,
    bitmap,
    job_id,
    made,
    parts,
    used,
)
from qmpd.sim.lint.finding import Finding
from qmpd.sim.lint.refusals import is_refused
from qmpd.sim.lint.session import Answer, Asked, Session, Told

_THERE: Final = re.compile("[Dd]uplicate|already|exists|in use|conflict")
"""Errors by which what was to be made is there, or its name is something else's."""

_MISSING: Final = re.compile("not found|not running|not active|[Cc]annot find|[Ff]ailed to find")
"""Errors by which something is not there."""


def found(session: Session) -> Iterator[Finding]:
    """The errors that clients have ignored."""
    yield from _NotMade().found(session)
    yield from _BackupLost().found(session)


class _NotMade:
    """What was not made, by client and thing."""

    def __init__(self) -> None:
        self._failed: dict[tuple[str, Thing], Answer] = {}
        self._told: set[int] = set()

    def found(self, session: Session) -> Iterator[Finding]:
        """Look at answers in their order."""
        for step in session.steps:
            if not isinstance(step, Answer):
                continue
            if step.error is not None and not is_refused(step.asked):
                yield from self._uses(step, step.error)
            for thing in made(step.asked):
                if step.error is None:
                    self._made(thing)
                elif not _THERE.search(step.error):
                    self._failed[step.asked.client, thing] = step

    def _made(self, thing: Thing) -> None:
        """It is there, whoever has made it."""
        for key in [key for key in self._failed if key[1] == thing]:
            del self._failed[key]

    def _uses(self, step: Answer, error: str) -> Iterator[Finding]:
        asked = step.asked
        if asked.command in CLEANING:
            return
        for thing in used(asked):
            failure = self._failed.get((asked.client, thing))
            # its answer had come when this was asked
            if failure is None or failure.place > asked.place or _is_again(asked, failure.asked):
                continue
            if failure.place in self._told or not _is_missed(thing, error):
                continue
            self._told.add(failure.place)
            why = f"'{failure.error}', and {asked.command} uses {thing}: '{error}'"
            yield Finding(
                "ignored",
                failure.asked.place,
                failure.asked.command,
                (),
                why,
                see=(asked.place,),
                rule="not-made",
            )


def _is_missed(thing: Thing, error: str) -> bool:
    """Whether an error tells that something is not there."""
    name = thing.name.rpartition("/")[2]
    return bool(_MISSING.search(error)) or (bool(name) and f"'{name}'" in error)


def _is_again(asked: Asked, other: Asked) -> bool:
    return asked.command == other.command and set(made(asked)) == set(made(other))


class _BackupLost:
    """Bitmaps whose backup has failed, and the jobs that are to save them."""

    def __init__(self) -> None:
        self._jobs: dict[str, Thing] = {}
        self._lost: dict[Thing, tuple[int, str, str]] = {}

    def found(self, session: Session) -> Iterator[Finding]:
        """Look at all in its order."""
        for step in session.steps:
            if isinstance(step, Asked):
                for job, saved in _saved(step):
                    self._jobs[job] = saved
                    self._lost.pop(saved, None)
            elif isinstance(step, Answer):
                yield from self._answered(step)
            else:
                self._event(step)

    def _answered(self, step: Answer) -> Iterator[Finding]:
        asked = step.asked
        if step.error is not None:
            for _, saved in _saved(asked):
                self._lost[saved] = (asked.place, asked.command, step.error)
            return
        for command, arguments in parts(asked):
            if command == "block-dirty-bitmap-clear":
                cleared = bitmap(arguments.get("node"), arguments.get("name"))
                lost = self._lost.pop(cleared, None)
                if lost is not None:
                    place, name, error = lost
                    why = f"'{error}', and {cleared} of what it was to save is cleared"
                    see = (asked.place,)
                    yield Finding("ignored", place, name, (), why, see=see, rule="backup-lost")

    def _event(self, step: Told) -> None:
        saved = self._jobs.get(str(step.data.get("device")))
        if step.event == "BLOCK_JOB_COMPLETED" and saved is not None:
            error = step.data.get("error")
            if error is not None:
                self._lost[saved] = (step.place, step.event, str(error))


def _saved(asked: Asked) -> Iterator[tuple[str, Thing]]:
    """The jobs of backups that a request starts, with the bitmaps of what they are to save."""
    for command, arguments in parts(asked):
        name: Any = arguments.get("bitmap")
        if command in BACKUPS and isinstance(name, str) and _is_kept(arguments):
            yield job_id(arguments), bitmap(arguments.get("device"), name)


def _is_kept(arguments: Arguments) -> bool:
    """Whether the bitmap is as before when the backup fails."""
    return arguments.get("bitmap-mode") != "always" and arguments.get("sync") != "full"
