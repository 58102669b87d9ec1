"""What the test bench does to a machine, as methods of `qmpd.aio.Machine`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from qmpd.api.aio_guests import Guest
from qmpd.api.marks import Mark

if TYPE_CHECKING:
    from qmpd.api.core import Core
    from qmpd.api.drivers import T, Work
    from qmpd.api.faults import Faults
    from qmpd.sim.images import MemoryImageInfo
    from qmpd.sim.journal.journal import Journal
    from qmpd.sim.power.file import Keep


class OnBench:
    """A machine as in `qmpd.api.bench.OnBench`, but for the ``await``."""

    _core: Core

    @classmethod
    def _of_core(cls, core: Core) -> Self:
        """A machine that has been set up."""
        raise NotImplementedError

    async def _run(self, work: Work[T], what: str) -> T:
        """Run `work` on the machine: see `Machine`."""
        raise NotImplementedError

    async def migrate(self, target: OnBench) -> None:
        """Let the guest go to another machine of this loop: see `qmpd.Machine.migrate`."""
        from qmpd.api.moving import Move

        for machine in (self, target):
            machine._core.require_open()
        move = Move(self._core, target._core)
        try:
            await target._run(move.begin_there(), "migrate-incoming")
            await self._run(move.begin_here(), "migrate")
            if await self._run(move.over_here(), "the migration"):
                await target._run(move.over_there(), "the migration")
        finally:
            move.end()
        move.check()

    async def reset(self) -> None:
        """Make the machine as it was when it was made: see `qmpd.Machine.reset`."""
        await self._run(self._core.bench.reset(), "the reset of the machine")

    def crash(self) -> None:
        """End the machine where it stands, as ``kill -9`` does: see `qmpd.Machine.crash`.

        Nothing of it is awaited; whoever waits for the machine gets `MachineClosed`.
        """
        self._core.bench.kill()

    def power_loss(self, *, keep: Keep = "random", seed: int = 0) -> None:
        """Crash, and lose what disks had not flushed: see `qmpd.Machine.power_loss`."""
        self._core.bench.power_loss(keep, seed)

    async def restart(self) -> None:
        """End the machine and start it again on its images: see `qmpd.Machine.restart`."""
        await self._run(self._core.bench.restart(), "the restart of the machine")

    async def checkpoint(self) -> Mark[Self]:
        """Keep the machine as it is now: see `qmpd.Machine.checkpoint`."""
        return Mark(type(self), self._core.bench.checkpoint())

    async def restore(self, mark: Mark[Any]) -> None:
        """Go back to a mark: see `qmpd.Machine.restore`."""
        self._core.restore(mark._checkpoint)

    @property
    def faults(self) -> Faults:
        """What is to fail: requests, commands, connections.  Nothing of it is awaited."""
        from qmpd.api.faults import Faults

        return Faults(lambda function: function(), self._core.bench)

    @property
    def journal(self) -> Journal:
        """All that has happened to the machine: see `qmpd.Machine.journal`."""
        return self._core.bench.journal

    @property
    def guest(self) -> Guest:
        """The guest: see `qmpd.Machine.guest`."""
        return Guest(self._run, self._core.bench)

    def pace(self, node: str, *, bytes_per_second: int | None = None, seconds: float = 0.0) -> None:
        """Say how fast a node is for jobs: see `qmpd.Machine.pace`."""
        self._core.bench.paces.set(node, bytes_per_second, seconds)

    @property
    def memory_images(self) -> dict[str, MemoryImageInfo]:
        """The images that are kept in memory: see `qmpd.Machine.memory_images`."""
        from qmpd.sim.images import images_in_memory

        return images_in_memory(self._core.machine)

    def remove_image(self, filename: str) -> None:
        """Remove an image from memory: see `qmpd.Machine.remove_image`."""
        from qmpd.sim.images import remove_image

        remove_image(self._core.machine, filename)
