"""Where versions of QEMU differ in the block graph and in jobs (`qmpd.profile.rules`).

A machine makes `qmpd.block.manners.Manners` of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from qmpd.profile.rule import NEWEST, OLDEST, Rewording, Rule, Touch, line

_MIRRORS: Final = ("blockdev-mirror", "drive-mirror")

_GRAPH_CHANGES: Final = (
    *("block-commit", "block-export-add", "block-export-del", "block-stream", "block_resize"),
    *("blockdev-add", "blockdev-backup", "blockdev-create", "blockdev-del", "blockdev-mirror"),
    *("blockdev-reopen", "blockdev-snapshot", "blockdev-snapshot-sync", "device_add"),
    *("device_del", "drive-backup", "drive-mirror", "x-blockdev-change"),
)
_GRAPH: Final = (
    *(Touch(command, while_job=True) for command in _GRAPH_CHANGES),
    Touch("transaction.actions", rf'"type": "({"|".join(_GRAPH_CHANGES)})"', while_job=True),
)
"""Changes of the graph: of other jobs there may be events."""

_DEFAULT_BLOCK_SIZE: Final = Rewording(
    pattern=(
        r"The \(default\) block size of (\d+ bytes) is used\."
        r" If the actual block size of the target exceeds this value,"
    ),
    words=(
        r"The default block size of \1 is used."
        r" If the actual block size of the target exceeds this default,"
    ),
    of="monitor",
)

_CONFLICT: Final = "Permission conflict on node|Conflicts with use by"

BLOCK_RULES: Final[Sequence[Rule]] = (
    Rule(
        "permission-conflict",
        "Of two that cannot use a node together, the one that was there before is told",
        "commit 30ebb9aa92 of June 2021 (6.1)",
        last=(5, 2),
        touches=tuple(Touch(command, answer=_CONFLICT) for command in _GRAPH_CHANGES),
    ),
    Rule(
        "graph-mod",
        "There is a permission graph-mod, which some jobs do not share",
        "commit 64631f3681 of September 2021 (7.0)",
        last=(6, 2),
        touches=("x-debug-query-block-graph",),
    ),
    Rule(
        "replaced-children-keep-their-place",
        "A child does not count as its parent's newest when another node takes its place",
        "seen on 5.2, not on 7.2",
        last=(5, 2),
        touches=("x-debug-query-block-graph",),
    ),
    Rule(
        "no-graph-lock",
        "Only jobs whose nodes change stand still for a moment while the graph is changed",
        "bdrv_graph_wrlock came with 8.0, and drains since 8.2",
        last=(7, 2),
        touches=_GRAPH,
    ),
    Rule(
        "graph-lock-drains",
        "All jobs stand still until a change of the graph, or of an AioContext, is over",
        "commits of May 2025: bdrv_graph_wrlock_drained came with 10.1",
        first=(10, 1),
        touches=_GRAPH,
    ),
    Rule(
        "delays-are-cut-short",
        "A job that waits for its speed copies the next chunk when a pause or a verb wakes it",
        "commit 018e5987b5 of May 2023 (8.1): jobs wait again",
        last=(7, 2),
        touches=("block-job-set-speed",),
    ),
    Rule(
        "mirrors-mark-the-source",
        "What a mirror is to copy is a dirty bitmap of the source, not of the filter above it",
        "commit 058cfca564 of October 2023 (8.2)",
        last=(7, 2),
        touches=_MIRRORS,
    ),
    Rule(
        "copies-mark-the-source",
        "What copy-before-write is to copy is a dirty bitmap of the source; it reads to write",
        "commits 006e845b5a and 137b4d4bd5 of March 2024 (9.1)",
        last=(7, 2),
        touches=("blockdev-backup", "drive-backup"),
    ),
    Rule(
        "commits-leave-the-base-writable",
        "An active commit that is cancelled leaves its base writable, also where it was not",
        "commit 7d99ae59a2 of April 2024 (9.1)",
        last=(7, 2),
        touches=("block-commit",),
    ),
    Rule(
        "commits-write-zeroes",
        "A commit of zeroes writes zeroes, which may unmap, and no data",
        "commit 6f3199f996 of October 2024 (10.1)",
        first=(10, 1),
        touches=("block-commit",),
    ),
    Rule(
        "bitmaps-need-a-writable-node",
        "A node that is read-only or inactive takes no persistent bitmap",
        "seen on 11.1, not on 10.0",
        first=(11, 1),
        touches=(
            Touch("block-dirty-bitmap-add.persistent", "^true$"),
            Touch("transaction.actions", '"persistent": true'),
            Touch("block-dirty-bitmap-remove", answer="is readonly and|no write access to node"),
        ),
    ),
    Rule(
        "streams-leave-the-image-writable",
        "An image that was read-only stays writable when it has been streamed into",
        "seen on 11.1, not on 10.0",
        first=(11, 1),
        touches=("block-stream",),
    ),
    Rule(
        "rule-files-are-named",
        "blkdebug says which file of rules cannot be opened",
        "seen on 11.1, not on 10.0",
        first=(11, 1),
        touches=(Touch("blockdev-add.config", answer="^Could not (open|read)"),),
    ),
    Rule(
        "no-active-option",
        "-drive and file names know no option active",
        "QAPI documentation: since 10.0",
        last=(9, 2),
    ),
    Rule(
        "no-recent-filters",
        "-drive and file names know neither preallocate nor copy-before-write nor snapshot-access",
        "QAPI documentation: since 6.0, 6.2 and 7.0",
        last=(5, 2),
    ),
    Rule(
        "no-recent-options",
        "-drive and file names know no aio-max-batch, bottom, open-timeout and tls-hostname",
        "QAPI documentation: since 6.0, 6.2 and 7.0",
        last=(5, 2),
    ),
    Rule(
        "no-discard-no-unref",
        "-drive and file names know no discard-no-unref",
        "QAPI documentation: since 8.1",
        last=(7, 2),
    ),
    Rule(
        "regular-files",
        "That a file is no regular one is told without its name",
        "seen on 5.2, not on 7.2",
        last=(5, 2),
        change=Rewording(
            pattern=r"'file' driver requires '.*' to be a regular file",
            words="A regular file was expected by the 'file' driver, but something else was given",
        ),
    ),
    Rule(
        "protocols-without-creation",
        "That there is nothing where a protocol makes no images is worded otherwise",
        "seen on 5.2 and 7.2, not on 10.0",
        last=(7, 2),
        change=Rewording(
            pattern=(
                r"Protocol driver '(.*)' does not support creating new images, so an existing image"
                r" must be selected as the target; however, opening the given target as an existing"
                r" image failed: "
            ),
            words=r"Protocol driver '\1' does not support image creation, and opening the image"
            r" failed: ",
        ),
    ),
    Rule(
        "vote-threshold",
        "Of a vote threshold value >= 1 is expected, without an article",
        "seen on 5.2, not on 7.2",
        last=(5, 2),
        change=Rewording(
            pattern=r"Parameter 'vote-threshold' expects a value >= 1",
            words="Parameter 'vote-threshold' expects value >= 1",
        ),
    ),
    Rule(
        "permissions-of-blkdebug",
        "A name of a permission that blkdebug does not know is an invalid parameter",
        "seen on 5.2, not on 7.2",
        last=(5, 2),
        change=Rewording(
            pattern=r"Parameter 'null' does not accept value '(.*)'",
            words=r"Invalid parameter '\1'",
        ),
    ),
    Rule(
        "default-block-size",
        "What copy-before-write says of a target without a cluster size is worded otherwise",
        "seen on 5.2 and 7.2, not on 10.0",
        last=(7, 2),
        change=_DEFAULT_BLOCK_SIZE,
    ),
    Rule(
        "drains-of-all-are-flat",
        "When all jobs have stood still, they go on in the order of their last nodes",
        "seen on 5.2 and 7.2, not on 10.0",
        last=(7, 2),
        touches=tuple(Touch(command, while_job=True) for command in ("stop", "transaction")),
    ),
    Rule(
        "creations-open-themselves",
        "A blockdev-create that fails before it has written has ended when it is answered",
        "seen on 5.2 and 7.2, not on 10.0",
        last=(7, 2),
        touches=("blockdev-create",),
    ),
    Rule(
        "backends-unmap",
        "Zeroes of guests, jobs and clients may unmap also where their node has discard=ignore",
        "seen on 5.2 and 7.2, not on 10.0",
        last=(7, 2),
        touches=(
            *("block-commit", "blockdev-mirror", "drive-mirror"),
            line(r"qemu-io .*(write|w) .*-[a-zA-Z]*u.*"),
        ),
    ),
    Rule(
        "windows-that-do-not-fit",
        "A window of a raw node that does not fit is told of as of nothing at the beginning",
        "seen on 5.2, not on 7.2",
        last=(5, 2),
        change=Rewording(
            pattern=r"The sum of offset \(\d+\) and size \(\d+\) has to",
            words="The sum of offset (0) and size (0) has to",
        ),
    ),
    Rule(
        "resize-says-in-use",
        "block_resize does not say why a node that is in use cannot be resized",
        "seen on 5.2 and 7.2, not on 10.0",
        last=(7, 2),
        touches=(
            Touch("block_resize", answer="(is|in) use|busy|onflict"),
            line("block_resize", answer="(is|in) use|busy|onflict"),
        ),
    ),
    Rule(
        "lengths-have-no-limit",
        "Nodes may have any length below 2**63; where null-co is given one, a double holds it",
        "seen on 5.2, not on 7.2: BDRV_MAX_LENGTH came with 6.0",
        last=(5, 2),
        touches=(
            Touch("blockdev-add.size", r"^[0-9]{16,}$"),
            Touch("block_resize.size", r"^[0-9]{19,}$"),
        ),
    ),
    *(
        Rule(
            "lengths-are-asked-anew",
            "raw, copy-on-read, compress and preallocate follow when the node below is resized",
            source,
            first=first,
            last=last,
            touches=("block_resize.node-name",),
        )
        for first, last, source in (
            (OLDEST, (7, 2), "seen on 5.2 and 7.2, not on 10.0"),
            ((11, 1), NEWEST, "seen on 11.1, not on 10.0"),
        )
    ),
    Rule(
        "filters-are-resized",
        "blkdebug and throttle follow when the node below is resized",
        "seen on 11.1, not on 10.0",
        first=(11, 1),
        touches=("block_resize.node-name",),
    ),
    Rule(
        "replaced-nodes-are-named",
        "A mirror says of a node to replace that its name is not found",
        "seen on 5.2, not on 7.2",
        last=(5, 2),
        touches=("blockdev-mirror.replaces", "drive-mirror.replaces"),
    ),
    Rule(
        "walks-begin-anew",
        "Who goes through all nodes, as savevm does, comes to each that the monitor owns",
        "seen on 5.2 and 7.2, not on 10.0",
        last=(7, 2),
        touches=(line("savevm( .*)?"), line("(loadvm|delvm) .*")),
    ),
    Rule(
        "nodes-tell-more",
        "Nodes tell their children, and images the limits of requests",
        "QAPI documentation: since 10.1 and 10.2",
        first=(10, 1),
    ),
)

BlockName = Literal[
    "no-active-option",
    "backends-unmap",
    "bitmaps-need-a-writable-node",
    "commits-leave-the-base-writable",
    "creations-open-themselves",
    "commits-write-zeroes",
    "copies-mark-the-source",
    "delays-are-cut-short",
    "drains-of-all-are-flat",
    "filters-are-resized",
    "graph-lock-drains",
    "graph-mod",
    "lengths-are-asked-anew",
    "lengths-have-no-limit",
    "mirrors-mark-the-source",
    "no-graph-lock",
    "no-discard-no-unref",
    "no-recent-filters",
    "no-recent-options",
    "nodes-tell-more",
    "permission-conflict",
    "replaced-children-keep-their-place",
    "replaced-nodes-are-named",
    "resize-says-in-use",
    "rule-files-are-named",
    "streams-leave-the-image-writable",
    "walks-begin-anew",
]
"""The names of those that are asked for."""
