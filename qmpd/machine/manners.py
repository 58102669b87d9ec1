"""The ways of a version's block layer, made of the rules of its profile."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from qmpd.block.manners import GraphLock, Manners

if TYPE_CHECKING:
    from qmpd.profile.block_rules import BlockName
    from qmpd.profile.rules import Rules


_FILTERS: Final = frozenset({"copy-before-write", "preallocate", "snapshot-access"})


_OPTIONS: Final[tuple[tuple[BlockName, frozenset[str]], ...]] = (
    (
        "no-recent-options",
        frozenset({"aio-max-batch", "bottom", "open-timeout", "tls-hostname"}),
    ),
    ("no-discard-no-unref", frozenset({"discard-no-unref"})),
)


def _unknown_options(rules: Rules) -> frozenset[str]:
    return frozenset().union(*(names for rule, names in _OPTIONS if rules.holds(rule)))


_FOLLOWERS: Final[tuple[tuple[BlockName, frozenset[str]], ...]] = (
    ("lengths-are-asked-anew", frozenset({"raw", "copy-on-read", "compress", "preallocate"})),
    ("filters-are-resized", frozenset({"blkdebug", "throttle"})),
)


def _followers(rules: Rules) -> frozenset[str]:
    return frozenset().union(*(names for rule, names in _FOLLOWERS if rules.holds(rule)))


@lru_cache(maxsize=16)
def manners(rules: Rules) -> Manners:
    """What the block layer does in a version that has these rules."""
    lock = GraphLock.BRIEF
    if rules.holds("no-graph-lock"):
        lock = GraphLock.NONE
    elif rules.holds("graph-lock-drains"):
        lock = GraphLock.WHOLE
    return Manners(
        graph_lock=lock,
        conflicts_name_the_other=rules.holds("permission-conflict"),
        replaced_children_keep_their_place=rules.holds("replaced-children-keep-their-place"),
        knows_graph_mod=rules.holds("graph-mod"),
        tells_more=rules.holds("nodes-tell-more"),
        mirrors_mark_the_source=rules.holds("mirrors-mark-the-source"),
        mirrors_skip_zeroes=rules.holds("mirror-skips-zeroes"),
        copies_mark_the_source=rules.holds("copies-mark-the-source"),
        copies_read_to_write=rules.holds("copies-mark-the-source"),
        bitmaps_need_a_writable_node=rules.holds("bitmaps-need-a-writable-node"),
        commits_leave_the_base_writable=rules.holds("commits-leave-the-base-writable"),
        streams_leave_the_image_writable=rules.holds("streams-leave-the-image-writable"),
        commits_write_zeroes=rules.holds("commits-write-zeroes"),
        rule_files_are_named=rules.holds("rule-files-are-named"),
        raw_data_files_are_preallocated=rules.holds("raw-data-files-are-preallocated"),
        drains_of_all_are_flat=rules.holds("drains-of-all-are-flat"),
        creations_open_themselves=rules.holds("creations-open-themselves"),
        backends_unmap=rules.holds("backends-unmap"),
        exports_go_later=rules.holds("exports-go-later"),
        unknown_drivers=_FILTERS if rules.holds("no-recent-filters") else frozenset(),
        unknown_options=_unknown_options(rules),
        knows_active=not rules.holds("no-active-option"),
        resize_says_in_use=rules.holds("resize-says-in-use"),
        pauses_do_not_wake=rules.holds("pauses-do-not-wake"),
        paused_jobs_do_not_complete=rules.holds("paused-jobs-do-not-complete"),
        gentle_cancels_count=rules.holds("gentle-cancels-count"),
        cancels_wait_for_requests=rules.holds("cancels-wait-for-requests"),
        jobs_have_a_backend=rules.holds("jobs-have-a-backend"),
        job_errors_are_numbers=rules.holds("job-errors-are-numbers"),
        backups_use_backup_top=rules.holds("backups-use-backup-top"),
        backups_go_by_clusters=rules.holds("backups-go-by-clusters"),
        backups_keep_their_nodes=rules.holds("backups-keep-their-nodes"),
        streams_have_no_filter=rules.holds("streams-have-no-filter"),
        mirror_filters_ask_for_little=rules.holds("mirror-filters-ask-for-little"),
        replaced_nodes_have_a_name=rules.holds("replaced-nodes-have-a-name"),
        mirrors_open_backing_when_completed=rules.holds("mirrors-open-backing-when-completed"),
        replaced_nodes_are_named=rules.holds("replaced-nodes-are-named"),
        walks_begin_anew=rules.holds("walks-begin-anew"),
        lengths_are_limited=not rules.holds("lengths-have-no-limit"),
        lengths_follow=_followers(rules),
        delays_are_cut_short=rules.holds("delays-are-cut-short"),
    )
