"""The states of a job, the moves between them, and the verbs each accepts: QEMU's tables."""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final


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
"""What a policy comes to for a failed request (block_job_error_action)."""
