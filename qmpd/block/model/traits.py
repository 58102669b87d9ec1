"""What kind of driver a driver is, as two frozen values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The place of a driver's nodes in the graph, and its options."""

    is_protocol: bool = False
    """Whether it has the bytes itself, instead of standing on a file."""
    has_protocol_name: bool = False
    """Whether file names can begin with its name, though it stands on another node."""
    protocol_name: str = ""
    """What QEMU calls the protocol, where not as the driver."""
    is_format: bool = False
    """Whether it is an image format: its children are never probed, but for a backing file."""
    is_filter: bool = False
    """Whether it shows what its child holds."""
    needs_filename: bool = False
    """Whether it cannot be opened without option `filename`."""
    file_child: bool = False
    """Whether it stands on a `file` child, opened before the node is named."""
    filtered_child_is_backing: bool = False
    """Whether a filter calls the child it filters `backing`."""
    lists_children: bool = False
    """Whether the options of its children are one list, `children`."""
    never_freeze: bool = False
    """Whether no job may rely on links to its nodes."""
    depends_on_parents: bool = False
    """Whether what it asks of its children depends on there being parents."""
    strong_options: tuple[str, ...] = ()
    """Options that change the data a guest sees: a ``json:`` file name repeats them."""
    mutable_options: tuple[str, ...] = ()
    """Options that blockdev-reopen can change, and that get their default when left out."""
    options_first: bool = False
    """Whether its options are read before it is seen whether there is a `file` child."""
    options_last: bool = False
    """Whether its options are read only when the image has turned out to be one."""
    needed_options: tuple[str, ...] = ()
    """Options that blockdev-reopen can change, but that cannot be left out once they were given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a driver can do.  Some can only tell for a node that is open: they have methods."""

    write_zeroes: bool = False
    """Make an area read as zeroes."""
    discard: bool = False
    """Forget the contents of an area."""
    write_compressed: bool = False
    """Write an area compressed; see `DriverInterface.can_write_compressed`."""
    backing: bool = False
    """Have a backing file."""
    creates_images: bool = False
    """Make an image that is given by its file name."""
    reopen: bool = False
    """Change options of a node (blockdev-reopen)."""
    hears_events: bool = False
    """Act upon `DriverInterface.debug_event`."""
    hears_drains: bool = False
    """Hold requests back that have to go on when the node is drained."""
    flushes_children: bool = False
    """Flush all there is to flush, children included."""
    flushes_writes_only: bool = False
    """Have nothing to flush but what has been written to the node since the last flush."""
    info: bool = False
    """Answer ``bdrv_get_info``, so that queries show more; see `DriverInterface.has_info`."""
    zero_init: bool = False
    """Make images that read as zeroes; see `DriverInterface.has_zero_init`."""
    allocated_size: bool = True
    """Tell how much space an image takes."""
