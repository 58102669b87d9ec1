"""Where versions of QEMU differ in block jobs and their filters (`qmpd.profile.rules`).

A machine makes `qmpd.block.manners.Manners` of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from qmpd.profile.rule import Rewording, Rule, Touch

_BACKUPS: Final = ("blockdev-backup", "drive-backup")
_MIRRORS: Final = ("blockdev-mirror", "drive-mirror")

JOB_RULES: Final[Sequence[Rule]] = (
    Rule(
        "answers-come-first",
        "A command is answered before what it leaves to be done, such as the end of a job",
        "commit effd60c878 of January 2024 (9.0, and 7.2 as distributed)",
        last=(5, 2),
        touches=(
            *("job-cancel", "job-complete", "job-finalize"),
            *("block-job-cancel", "block-job-complete", "block-job-finalize"),
        ),
    ),
    Rule(
        "pauses-do-not-wake",
        "A job that is to pause is not woken for it, but pauses when it goes on by itself",
        "commit 3ee1483b95 of January 2021 (6.0)",
        last=(5, 2),
        touches=("job-pause", "block-job-pause"),
    ),
    Rule(
        "paused-jobs-do-not-complete",
        "A job that is ready cannot be completed while it is paused",
        "commit 53ddb9c892 of April 2021 (6.0)",
        last=(5, 2),
        touches=("job-complete", "block-job-complete"),
    ),
    Rule(
        "gentle-cancels-count",
        "A ready job that is cancelled without force is neither paused nor completed any more",
        "commits 73895f3838 and a640fa0e38 of October 2021 (6.2)",
        last=(5, 2),
        touches=("block-job-cancel",),
    ),
    Rule(
        "cancels-wait-for-requests",
        "A job that is cancelled waits for a server that does not answer",
        "commit 9820933b57 of February 2021 (6.0)",
        last=(5, 2),
    ),
    Rule(
        "jobs-have-a-backend",
        "A block job holds its node by a nameless device, and conflicts come before a bad id",
        "commit 985cac8f20 of May 2021 (7.0)",
        last=(5, 2),
        touches=(Touch("x-debug-query-block-graph", while_job=True),),
    ),
    Rule(
        "job-errors-are-numbers",
        "BLOCK_JOB_COMPLETED and query-block-jobs tell the error number, and not what was wrong",
        "commit 3b6ad6230e of February 2021 (6.0)",
        last=(5, 2),
    ),
    Rule(
        "backups-use-backup-top",
        "The filter of a backup is backup-top, whose source is its child backing",
        "commits d003e0aece and 3c1e63277e of August 2021 (6.2)",
        last=(5, 2),
        touches=_BACKUPS,
    ),
    Rule(
        "backups-go-by-clusters",
        "A backup copies one cluster after the other",
        "commit 71eed4cebe of January 2021 (6.0)",
        last=(5, 2),
        touches=_BACKUPS,
    ),
    Rule(
        "backups-keep-their-nodes",
        "A backup that has ended holds its target and its filter until it is dismissed",
        "commit bdc4c4c5e3 of February 2021 (6.0)",
        last=(5, 2),
        touches=_BACKUPS,
    ),
    Rule(
        "streams-have-no-filter",
        "A stream works on the image itself, which copies on read if all below it is streamed",
        "commit 205736f488 of December 2020 (6.0)",
        last=(5, 2),
        touches=("block-stream",),
    ),
    Rule(
        "mirror-filters-ask-for-little",
        "The filter of a mirror needs to write at most, and shares everything",
        "commit 53431b9086 of February 2021 (6.0)",
        last=(5, 2),
        touches=_MIRRORS,
    ),
    Rule(
        "replaced-nodes-have-a-name",
        "A node that a mirror is to replace, and that is not there, is told by its node name",
        "seen on 5.2, not on 7.2",
        last=(5, 2),
        touches=tuple(Touch(f"{mirror}.replaces", answer="ode.*name") for mirror in _MIRRORS),
    ),
    Rule(
        "granularity-of-a-mirror",
        "Of a granularity power of 2 is expected, without an article",
        "seen on 5.2, not on 7.2",
        last=(5, 2),
        change=Rewording(
            pattern=r"^Parameter 'granularity' expects a power of 2$",
            words="Parameter 'granularity' expects power of 2",
        ),
    ),
    Rule(
        "mirrors-open-backing-when-completed",
        "The backing file of a mirror's existing target is opened when completion is asked for",
        "commit c41f5b96ee of April 2021 (6.0)",
        last=(5, 2),
        touches=("drive-mirror.mode",),
    ),
)

JobName = Literal[
    "answers-come-first",
    "backups-go-by-clusters",
    "backups-keep-their-nodes",
    "backups-use-backup-top",
    "cancels-wait-for-requests",
    "gentle-cancels-count",
    "job-errors-are-numbers",
    "jobs-have-a-backend",
    "mirror-filters-ask-for-little",
    "mirrors-open-backing-when-completed",
    "paused-jobs-do-not-complete",
    "pauses-do-not-wake",
    "replaced-nodes-have-a-name",
    "streams-have-no-filter",
]
"""The names of those that are asked for."""
