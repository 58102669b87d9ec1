"""What exports need of the machine that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from qmpd.block.model.aio_context import IOThreadContext
    from qmpd.block.model.graph import Graph
    from qmpd.export.exports import BlockExports
    from qmpd.export.host import ExportHost
    from qmpd.export.nbd.control import NbdControl


class HasContext(Protocol):
    """An iothread, as far as exports go."""

    @property
    def context(self) -> IOThreadContext:
        """Its loop."""


class Objects(Protocol):
    """The objects that object-add has made."""

    def iothread(self, path: str) -> HasContext | None:
        """The iothread that `path` means, if it means one."""


class ExportingMachine(Protocol):
    """A machine, as far as exports go."""

    @property
    def graph(self) -> Graph:
        """The block graph."""

    @property
    def exports(self) -> BlockExports:
        """The exports there are."""

    @property
    def nbd(self) -> NbdControl:
        """What starts and stops its NBD server."""

    @property
    def objects(self) -> Objects:
        """Objects, iothreads among them."""

    @property
    def host(self) -> ExportHost:
        """The process that it lives in."""
