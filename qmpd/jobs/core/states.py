"""The states of a job, the moves between them, and the verbs each accepts.

The tables are JobSTT and JobVerbTable of job.c, and block_job_error_action of blockjob.c.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final

# The life of a job
#
#     undefined -> created -> running -> waiting -> pending -> concluded -> null
#
# is the life of a job that nothing happens to.  It is *undefined* only while it is being set
# up, before anybody can see it, *created* until it is started, and *running* while it works.
# When its work is done it is *waiting* for the other jobs of its transaction (at once over if
# it is the only one), then *pending* until it is finalized, which happens by itself unless the
# job was created with auto-finalize=false.  In the end it is *concluded*: its result can be
# queried until it is dismissed, which again happens by itself unless auto-dismiss=false.
# *null* is the last thing that events report of it.
#
# Three detours are possible.
#
# * A running job can be *paused*, by a user or, for a moment, by a drained section; then it
#   goes back to where it was.
# * Jobs without an end of their own, mirrors and commits of the active layer, become *ready*
#   when source and target are alike.  They stay so until they are completed or cancelled.
#   *standby* is to ready what paused is to running.
# * Any failure, and any cancellation, leads to *aborting*, and from there to concluded.  A job
#   may be told to abort while it is aborting already (by another job of its transaction), hence
#   the move from this state to itself.
#
# Verbs are what a client can ask for: a command such as job-pause is refused if the job is in a
# state that its verb is not listed for.  Most verbs are for jobs that are at work.  A job can be
# cancelled until it is finalized, completed only while it is ready, and the last two commands
# fit one state each: job-finalize pending, job-dismiss concluded.


class JobStatus(Enum):
    """State of a job; `value` is QAPI's name for it (enum JobStatus)."""

    UNDEFINED = "undefined"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    READY = "ready"
    STANDBY = "standby"
    WAITING = "waiting"
    PENDING = "pending"
    ABORTING = "aborting"
    CONCLUDED = "concluded"
    NULL = "null"


class JobVerb(Enum):
    """What can be asked of a job; `value` is QAPI's name for it (enum JobVerb)."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    SET_SPEED = "set-speed"
    COMPLETE = "complete"
    DISMISS = "dismiss"
    FINALIZE = "finalize"
    CHANGE = "change"


_S = JobStatus

TRANSITIONS: Final = MappingProxyType(
    {
        _S.UNDEFINED: frozenset({_S.CREATED}),
        _S.CREATED: frozenset({_S.RUNNING, _S.ABORTING, _S.NULL}),
        _S.RUNNING: frozenset({_S.PAUSED, _S.READY, _S.WAITING, _S.ABORTING}),
        _S.PAUSED: frozenset({_S.RUNNING}),
        _S.READY: frozenset({_S.STANDBY, _S.WAITING, _S.ABORTING}),
        _S.STANDBY: frozenset({_S.READY}),
        _S.WAITING: frozenset({_S.PENDING, _S.ABORTING}),
        _S.PENDING: frozenset({_S.ABORTING, _S.CONCLUDED}),
        _S.ABORTING: frozenset({_S.ABORTING, _S.CONCLUDED}),
        _S.CONCLUDED: frozenset({_S.NULL}),
        _S.NULL: frozenset(),
    }
)
"""The legal moves."""

_ACTIVE: Final = frozenset({_S.CREATED, _S.RUNNING, _S.PAUSED, _S.READY, _S.STANDBY})

VERBS: Final = MappingProxyType(
    {
        JobVerb.CANCEL: _ACTIVE | {_S.WAITING, _S.PENDING},
        JobVerb.PAUSE: _ACTIVE,
        JobVerb.RESUME: _ACTIVE,
        JobVerb.SET_SPEED: _ACTIVE,
        JobVerb.COMPLETE: frozenset({_S.READY, _S.STANDBY}),
        JobVerb.DISMISS: frozenset({_S.CONCLUDED}),
        JobVerb.FINALIZE: frozenset({_S.PENDING}),
        JobVerb.CHANGE: _ACTIVE,
    }
)
"""The states in which each verb is accepted."""

READY: Final = frozenset({_S.READY, _S.STANDBY})
"""The states that queries call ready."""

COMPLETED: Final = frozenset({_S.WAITING, _S.PENDING, _S.ABORTING, _S.CONCLUDED, _S.NULL})
"""The states in which the work has ended."""


class OnError(Enum):
    """What a job does about a failed request (QAPI enum BlockdevOnError)."""

    REPORT = "report"
    IGNORE = "ignore"
    ENOSPC = "enospc"
    STOP = "stop"
    AUTO = "auto"


class ErrorAction(Enum):
    """What was decided for one failed request (QAPI enum BlockErrorAction)."""

    IGNORE = "ignore"
    REPORT = "report"
    STOP = "stop"


# A failed request
#
# A job is created with a policy for requests that fail, on-source-error and on-target-error.
# The policy is looked up once for each failure.  *report* ends the job with the error, *ignore*
# goes on (most jobs try the request again later), *stop* pauses the job, so that a user can
# repair what is wrong and resume it.  A full disk (ENOSPC) is a special case because it is the
# error that users can repair: *enospc* stops for it and reports all other errors.  *auto* is for
# devices, whose default depends on the kind of request; for a job it is the same as enospc.

ERROR_ACTIONS: Final = MappingProxyType(
    {
        # policy: (for ENOSPC, for any other errno)
        OnError.REPORT: (ErrorAction.REPORT, ErrorAction.REPORT),
        OnError.IGNORE: (ErrorAction.IGNORE, ErrorAction.IGNORE),
        OnError.ENOSPC: (ErrorAction.STOP, ErrorAction.REPORT),
        OnError.STOP: (ErrorAction.STOP, ErrorAction.STOP),
        OnError.AUTO: (ErrorAction.STOP, ErrorAction.REPORT),
    }
)
"""The action for a failed request under each policy (block_job_error_action)."""
