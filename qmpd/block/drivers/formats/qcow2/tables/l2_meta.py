"""A part of a guest write in flight whose L2 entries will change (QCowL2Meta)."""

from __future__ import annotations

from qmpd.loop.task import Waiter


class L2Meta:
    """A part of a write whose L2 entries change.

    Positions named `cow_*` and `data_*` are bytes from the start of the first cluster:
    `cow_start`..`data_start` and `data_end`..`cow_end` must be copied from what the guest
    saw there; the guest's data lies in between.

    :param offset: virtual offset of the first cluster
    :param alloc_offset: host offset of the first cluster
    :param keep_old: the clusters exist already and are overwritten in place
    :param prealloc: subclusters are not marked as allocated

    `data`: the guest's data, where it is written together with the copied regions.
    `skip_cow`: the copied regions are zeroed already.
    """

    __slots__ = (
        "alloc_offset",
        "cow_end",
        "cow_start",
        "data",
        "data_end",
        "data_start",
        "keep_old",
        "nb_clusters",
        "offset",
        "prealloc",
        "skip_cow",
        "waiting",
    )

    def __init__(
        self,
        offset: int,
        alloc_offset: int,
        nb_clusters: int,
        *,
        cow_start: int,
        data_start: int,
        data_end: int,
        cow_end: int,
        keep_old: bool,
        prealloc: bool = False,
    ) -> None:
        self.offset = offset
        self.alloc_offset = alloc_offset
        self.nb_clusters = nb_clusters
        self.cow_start = cow_start
        self.data_start = data_start
        self.data_end = data_end
        self.cow_end = cow_end
        self.keep_old = keep_old
        self.prealloc = prealloc
        self.skip_cow = False
        self.data: memoryview | None = None
        self.waiting: list[Waiter] = []

    @property
    def has_cow(self) -> bool:
        """Whether anything must be copied."""
        return self.cow_start < self.data_start or self.data_end < self.cow_end

    def wake_dependents(self) -> None:
        """Wake the writes that waited for this one."""
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            waiter.wake()
