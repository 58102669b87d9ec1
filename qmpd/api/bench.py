"""What the test bench does to a machine, as methods of `qmpd.Machine`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from qmpd.api.guests import Guest
from qmpd.api.marks import Mark

if TYPE_CHECKING:
    from qmpd.api.core import Core
    from qmpd.api.drivers import ByHand, Driver
    from qmpd.api.faults import Faults
    from qmpd.sim.images import MemoryImageInfo
    from qmpd.sim.journal.journal import Journal
    from qmpd.sim.power.file import Keep


class OnBench:
    """A machine that can be reset, killed, kept and gone back to, slowed down and made to fail."""

    _core: Core
    _driver: Driver
    _by_hand: ByHand

    @classmethod
    def _of_core(cls, core: Core) -> Self:
        """A machine that has been set up."""
        raise NotImplementedError

    def migrate(self, target: OnBench) -> None:
        """Let the guest go to another machine of this program, and its disks and bitmaps with it.

        >>> import qmpd
        >>> source = qmpd.Machine()
        >>> target = qmpd.Machine(incoming=True)
        >>> source.migrate(target)
        >>> [vm.cmd("query-status")["status"] for vm in (source, target)]
        ['postmigrate', 'running']

        What the migration does is set by the commands ``migrate-set-capabilities`` and
        ``migrate-set-parameters`` before.  With ``pause-before-switchover`` the call returns when
        the guest has been stopped; ``migrate-continue`` lets it go on, and each machine does its
        part when it is called.  Disks that both are to see live in one `storage` value.

        :param target: a machine that was made with ``incoming=True``
        :raises qmpd.errors.QmpError: it cannot be begun, or has failed: `target` may have no guest
        :raises qmpd.errors.WaitsForever: the clock is held, and time has to pass
        :raises qmpd.errors.MachineClosed: one of both has ended
        """
        from qmpd.api.moving import Move

        for machine in (self, target):
            machine._core.require_open()
        Move(self._core, target._core).run(self._driver, target._driver)

    # Its life

    def reset(self) -> None:
        """Make the machine as it was when it was made: disks, time, names and all.

        It is not the guest's reset (that is the command ``system_reset``).  What is under way is
        dropped, events that were not taken are forgotten, and clients at sockets are disconnected;
        they may connect again.  A machine that has said ``quit``, or was killed, is there again.
        With ``storage="host"`` files stay as they are, but for those that the machine made from
        `images` with a size: it makes them again.

        >>> import qmpd
        >>> with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        ...     vm.disk("disk0").write(0, b"hello")
        ...     vm.reset()
        ...     vm.disk("disk0").read(0, 1)
        b'\\x00'

        :raises qmpd.errors.MachineClosed: the machine was closed (`close`)
        """
        self._driver.run(self._core.bench.reset(), "the reset of the machine")

    def crash(self) -> None:
        """End the machine where it stands, as ``kill -9`` does; `restart` starts it again.

        Nothing is closed, stored or told any more: images have what was written to them so far,
        not what the machine still held back (tables of qcow2, bitmaps, which stay in use);
        clients at sockets are disconnected.  Every further request raises `MachineClosed`.

        >>> import qmpd
        >>> image = {"path": "a.qcow2", "format": "qcow2", "size": "1M"}
        >>> with qmpd.Machine(images={"disk0": image}) as vm:
        ...     _ = vm.cmd("block-dirty-bitmap-add", node="disk0", name="b0", persistent=True)
        ...     vm.restart()
        ...     vm.crash()
        ...     vm.restart()
        ...     vm.bitmap("disk0", "b0").inconsistent
        True

        What is left when the power of the host fails is another question: see `power_loss`.
        """
        self._driver.call(self._core.bench.kill)

    def power_loss(self, *, keep: Keep = "random", seed: int = 0) -> None:
        """End the machine as `crash` does, and lose the power of its disks, too.

        Of every image there is what a disk with a cache may have kept: all that was flushed, and
        of what was written after that any part.  `restart` starts the machine again on that.  The
        machine has to be made with ``power=True``.

        >>> import qmpd
        >>> with qmpd.Machine(disks={"disk0": "1M"}, power=True) as vm:
        ...     vm.disk("disk0").write(0, b"flushed")
        ...     vm.disk("disk0").flush()
        ...     vm.disk("disk0").write(65536, b"lost")
        ...     vm.power_loss(keep="flushed")
        ...     vm.restart()
        ...     vm.disk("disk0").read(0, 7), vm.disk("disk0").read(65536, 4)
        (b'flushed', b'\\x00\\x00\\x00\\x00')

        :param keep: ``"flushed"``: nothing else than that; ``"random"``: any part of what came
            later, in whole sectors of 512 bytes; ``"torn"``: sectors may have been written in
            part; ``"all"``: everything that was written
        :param seed: chooses the part
        :raises ValueError: no such `keep`, or a seed that is no number
        :raises qmpd.errors.GenericError: the machine was not made with ``power=True``
        """
        self._driver.call(lambda: self._core.bench.power_loss(keep, seed))

    def restart(self) -> None:
        """End the machine, as ``quit`` does, and start another one on the same images.

        One that has ended already, by ``quit`` or because it was killed, is started.  What was
        made by commands is gone (nodes, jobs, exports, bitmaps that are not persistent); disks,
        images, arguments and the time on the clock are the same.  Clients at sockets are
        disconnected, and may connect again.  Events that were not taken stay.

        >>> import qmpd
        >>> with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        ...     vm.disk("disk0").write(0, b"hello")
        ...     _ = vm.cmd("quit")
        ...     vm.restart()
        ...     vm.disk("disk0").read(0, 5)
        b'hello'

        :raises qmpd.errors.MachineClosed: the machine was closed (`close`)
        :raises qmpd.errors.QmpError: an image cannot be opened any more
        """
        self._driver.run(self._core.bench.restart(), "the restart of the machine")

    def checkpoint(self) -> Mark[Self]:
        """Keep the machine as it is now, to go back to it (`restore`) or on from it (`Mark.fork`).

        Everything is kept that a client can see, and what the program has not taken: images and
        what is cached of them, nodes, devices, bitmaps, objects, statistics, timers, made-up
        names to come, the time, events.  The journal and faults are not: they belong to the test.

        >>> import qmpd
        >>> with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        ...     mark = vm.checkpoint()
        ...     _ = vm.cmd("block-dirty-bitmap-add", node="disk0", name="b0")
        ...     vm.restore(mark)
        ...     "dirty-bitmaps" in vm.nodes["disk0"]
        False

        :raises qmpd.errors.GenericError: jobs or requests are at work, an NBD server or an export
            is there, or images are files of the host (``storage="host"``)
        :raises qmpd.errors.MachineClosed: the machine has ended
        """
        checkpoint = self._driver.call(self._core.bench.checkpoint)
        return Mark(type(self), checkpoint)

    def restore(self, mark: Mark[Any]) -> None:
        """Go back to a mark, of this machine or of another one.

        What is under way is dropped; clients at sockets are disconnected, and may connect again.
        A machine that has said ``quit``, or was killed, is there again.

        :raises qmpd.errors.MachineClosed: the machine was closed (`close`)
        """
        self._driver.call(lambda: self._core.restore(mark._checkpoint))

    # What is done to it, and what is known of it

    @property
    def memory_images(self) -> dict[str, MemoryImageInfo]:
        """The images that are kept in memory, or the changes of which are, by their names.

        They stay when the last node that has them open goes, as files do.

        >>> import qmpd
        >>> with qmpd.Machine(images={"d": {"path": "d.raw", "size": "1M"}}) as vm:
        ...     vm.memory_images
        {'d.raw': MemoryImageInfo(size=1048576, allocated=0, in_use=True)}
        """
        from qmpd.sim.images import images_in_memory

        return self._driver.call(lambda: images_in_memory(self._core.machine))

    def remove_image(self, filename: str) -> None:
        """Remove an image from memory; of one of the host (``storage="overlay"``) the changes.

        :param filename: a name of `memory_images`
        :raises LookupError: there is none
        :raises qmpd.errors.GenericError: a node has it open
        """
        from qmpd.sim.images import remove_image

        self._driver.call(lambda: remove_image(self._core.machine, filename))

    @property
    def journal(self) -> Journal:
        """All that has happened to the machine, to read and to assert; also once it is closed.

        >>> import qmpd
        >>> with qmpd.Machine() as vm:
        ...     _ = vm.cmd("stop")
        ...     vm.journal.assert_order("stop", "STOP")
        ...     vm.journal.unexpected_errors()
        []
        """
        return self._core.bench.journal

    def pace(self, node: str, *, bytes_per_second: int | None = None, seconds: float = 0.0) -> None:
        """Say how fast a node is for jobs; they take no time unless somebody does.

        >>> import qmpd
        >>> with qmpd.Machine(disks={"a": "100M", "b": "100M"}, clock="held") as vm:
        ...     vm.disk("a").write(0, b"x" * (100 << 20))
        ...     vm.pace("a", bytes_per_second=10 << 20)
        ...     _ = vm.cmd("blockdev-backup", job_id="j", device="a", target="b", sync="full")
        ...     vm.clock.advance(3.75)
        ...     done, total = vm.job("j").progress
        ...     print(f"{done / total:.0%}")
        37%

        What a job asks of the node takes time then, and so does what it asks of a node above
        whose file this is; guests are as quick as ever.  Commands that have to wait for a
        request of the job wait for it.

        :param node: name of the node, or of the backend or device on it
        :param bytes_per_second: how much it reads and writes, one request after the other
        :param seconds: what each request takes besides, several at the same time; with neither
            the node takes no time again
        :raises LookupError: there is no such node
        :raises ValueError: a number that is not positive
        """
        self._driver.call(lambda: self._core.bench.paces.set(node, bytes_per_second, seconds))

    @property
    def guest(self) -> Guest:
        """The guest: what it does with the machine, and what it answers."""
        return Guest(self)

    @property
    def faults(self) -> Faults:
        """What is to fail: requests, commands, connections."""
        from qmpd.api.faults import Faults

        return Faults(lambda function: self._driver.call(function), self._core.bench)
