"""Marks: what a machine was at a moment, to go back to or to go on from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from qmpd.api.core import Core
from qmpd.loop.clock import NANOSECONDS

if TYPE_CHECKING:
    from qmpd.api.setup import Setup
    from qmpd.sim.state.checkpoint import Checkpoint


class Forked(Protocol):
    """A class of machines."""

    @classmethod
    def _of_core(cls, core: Core) -> Self:
        """The machine that `core` is."""


MachineT_co = TypeVar("MachineT_co", bound=Forked, covariant=True)


class Mark(Generic[MachineT_co]):
    """A machine as it was when `checkpoint` was called.

    It stays what it is, whatever becomes of the machine, and may be used any number of times.
    """

    def __init__(self, kind: type[MachineT_co], setup: Setup, checkpoint: Checkpoint) -> None:
        self._kind = kind
        self._setup = setup
        self._checkpoint = checkpoint

    @property
    def time(self) -> float:
        """The machine's clock at that moment, in seconds."""
        return self._checkpoint.time / NANOSECONDS

    def fork(self) -> MachineT_co:
        """Make another machine, which goes on from here and shares nothing with the first.

        The bytes of its images are shared until one of them writes there, so that it takes a few
        milliseconds, whatever the size of the images.

        >>> import qmpd
        >>> with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        ...     vm.disk("disk0").write(0, b"hello")
        ...     with vm.checkpoint().fork() as other:
        ...         other.disk("disk0").write(0, b"HELLO")
        ...     vm.disk("disk0").read(0, 5)
        b'hello'

        :returns: a machine of the same class; one of `qmpd.aio` is there within ``async with``
        """
        return self._kind._of_core(Core(self._setup, self._checkpoint))
