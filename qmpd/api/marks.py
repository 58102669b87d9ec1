"""Marks: what a machine was at a moment, to go back to or to go on from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from qmpd.api.belongings import Saved
from qmpd.api.core import Core
from qmpd.api.setup import Setup
from qmpd.loop.clock import NANOSECONDS

if TYPE_CHECKING:
    import os

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

    def __init__(self, kind: type[MachineT_co], checkpoint: Checkpoint) -> None:
        self._kind = kind
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
        return self._kind._of_core(Core(self._checkpoint.setup, self._checkpoint))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the machine to a file, from which ``Machine.load`` makes it again.

        The file has what the machine would find after an end in good order: all images with their
        bytes, persistent bitmaps in them; and what it would lose: nodes as they are, backends,
        limits, objects, bitmaps that are in memory only, the time.  Names that the machine has made
        up are made up anew; statistics, jobs and events are not kept.

        >>> import qmpd, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        ...         vm.disk("disk0").write(0, b"hello")
        ...         vm.checkpoint().save(f"{folder}/vm")
        ...     with qmpd.Machine.load(f"{folder}/vm") as vm:
        ...         vm.disk("disk0").read(0, 5)
        b'hello'

        :raises OSError: it cannot be written
        :raises qmpd.errors.GenericError: there is something in it that cannot be told
        """
        Core(self._checkpoint.setup, self._checkpoint).leave_in(path, self._checkpoint.time)


def read_saved(path: str | os.PathLike[str]) -> tuple[Setup, Saved]:
    """Read a machine that was saved: what it was made of, and what there is in it.

    :raises OSError: the file cannot be read
    :raises ValueError: it is no such file, it is damaged, or its version is not known
    """
    from qmpd.sim.state.format import read

    description, files = read(path)
    setup = Setup.of_description(description.pop("setup"))
    return setup, Saved(description, files)


def load(path: str | os.PathLike[str]) -> Core:
    """Read a machine that was saved; it has yet to be set up: see `read_saved`."""
    setup, saved = read_saved(path)
    return Core(setup, saved=saved)
