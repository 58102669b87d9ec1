"""Which loop the requests of a node run in: the main one's, or that of an iothread."""

from __future__ import annotations

from typing import TypeAlias


class IOThreadContext:
    """The loop of one iothread (QEMU's AioContext).

    Nothing runs in it here.  It is a mark that nodes, backends and jobs bear, and that all who
    share a node must bear alike.

    :param name: the id of the iothread
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<IOThreadContext {self.name!r}>"


AioContext: TypeAlias = IOThreadContext | None
"""A loop: that of an iothread, or None for the main loop."""
