"""What the block layer does otherwise in some versions of QEMU.

A machine makes this value of the rules of its profile, once; the block layer, the jobs and the
exports ask it, and know no version.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class GraphLock(enum.Enum):
    """What stands still while the graph is changed (`qmpd.block.change.graph_lock`)."""

    NONE = "none"
    """The nodes that change; there is no lock."""
    BRIEF = "brief"
    """Everything, until the change begins."""
    WHOLE = "whole"
    """Everything, until the change is over."""


class Manners(NamedTuple):
    """The ways of one version; as they are here in the default one."""

    graph_lock: GraphLock = GraphLock.BRIEF
    conflicts_name_the_other: bool = False
    """Whether a conflict of permissions names who was there, and not who came."""
    replaced_children_keep_their_place: bool = False
    """Whether a child does not count as the newest when another node has taken its place."""
    knows_graph_mod: bool = False
    """Whether there is a permission to change the children of a node."""
    tells_more: bool = False
    """Whether queries tell the children of nodes and the limits of requests."""

    drains_of_all_are_flat: bool = False
    """Whether a drained section of all nodes is one of each, and not of those above it again."""

    delays_are_cut_short: bool = False
    """Whether a job that waits for its speed goes on when it is entered, as by a pause."""

    pauses_do_not_wake: bool = False
    """Whether a job that is to pause does so when it goes on by itself."""
    paused_jobs_do_not_complete: bool = False
    """Whether verb complete is refused by a job that is paused."""
    gentle_cancels_count: bool = False
    """Whether a ready job that is cancelled without force counts as cancelled until its end."""
    cancels_wait_for_requests: bool = False
    """Whether what is on its way to a server is waited for when a job is cancelled."""
    jobs_have_a_backend: bool = False
    """Whether a block job holds its main node by a backend, too."""
    job_errors_are_numbers: bool = False
    """Whether block jobs tell the error number that they have failed with, and no more."""

    backups_use_backup_top: bool = False
    """Whether the filter of a backup is backup-top."""
    backups_go_by_clusters: bool = False
    """Whether a backup copies one cluster after the other."""
    backups_keep_their_nodes: bool = False
    """Whether a backup that has ended holds its nodes until it is dismissed."""

    streams_have_no_filter: bool = False
    """Whether a stream works on the image itself."""

    mirror_filters_ask_for_little: bool = False
    """Whether the filter of a mirror needs to write at most, and shares everything."""
    replaced_nodes_have_a_name: bool = False
    """Whether it is a node name that is not found, where a mirror is to replace a node."""
    mirrors_open_backing_when_completed: bool = False
    """Whether verb complete opens the backing file of the target, and not the end of the job."""
    mirrors_mark_the_source: bool = False
    """Whether the bitmap of a mirror is the source's, and not its filter's."""
    mirrors_skip_zeroes: bool = False
    """Whether mirrors and active commits write no zeroes where the target is known to have them."""
    copies_mark_the_source: bool = False
    """Whether the bitmap of what is to be copied before it is written is the source's."""
    copies_read_to_write: bool = False
    """Whether copy-before-write needs to read only where somebody above it writes."""

    bitmaps_need_a_writable_node: bool = False
    """Whether persistent bitmaps are refused by nodes that cannot be written."""
    commits_leave_the_base_writable: bool = False
    """Whether an active commit that fails leaves its base as it has reopened it."""

    streams_leave_the_image_writable: bool = False
    """Whether an image that was read-only stays writable when it has been streamed into."""

    rule_files_are_named: bool = False
    """Whether blkdebug says which file of rules it cannot open."""

    commits_write_zeroes: bool = False
    """Whether a commit writes zeroes where an overlay has zeroes, and no copies of them."""

    raw_data_files_are_preallocated: bool = True
    """Whether qcow2 images with a raw data file have their metadata preallocated."""

    backends_unmap: bool = False
    """Whether zeroes of a backend may unmap also where the node was not opened so."""

    creations_open_themselves: bool = False
    """Whether the work of blockdev-create opens nodes, which others leave to the main loop."""

    exports_go_later: bool = False
    """Whether block-export-del has been answered before an export is gone."""

    unknown_drivers: frozenset[str] = frozenset()
    """Drivers that -drive and file names do not know."""
    unknown_options: frozenset[str] = frozenset()
    """Options of drivers that -drive and file names do not know."""
    knows_active: bool = True
    """Whether nodes have an option `active`."""

    resize_says_in_use: bool = False
    """Whether block_resize only says that a device is in use, and not by whom."""

    replaced_nodes_are_named: bool = False
    """Whether a mirror tells in words of its own that the node to replace is not there."""

    walks_begin_anew: bool = False
    """Whether all nodes of the monitor are walked behind those of backends."""

    lengths_are_limited: bool = True
    """Whether no node may be longer than BDRV_MAX_LENGTH."""

    lengths_follow: frozenset[str] = frozenset()
    """Drivers whose nodes are as long as what is below them, also when that is resized."""


USUAL = Manners()
