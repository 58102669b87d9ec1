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
    tells_more: bool = False
    """Whether queries tell the children of nodes and the limits of requests."""

    delays_are_cut_short: bool = False
    """Whether a job that waits for its speed goes on when it is entered, as by a pause."""

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

    exports_go_later: bool = False
    """Whether block-export-del has been answered before an export is gone."""

    knows_active: bool = True
    """Whether nodes have an option `active`."""

    resize_says_in_use: bool = False
    """Whether block_resize only says that a device is in use, and not by whom."""


USUAL = Manners()
