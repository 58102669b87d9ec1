"""`qmpd.Machine`: a machine in the program's own process, without threads and sockets.

The machine runs while it is called, and only then: a call returns when what was asked for is done
and the machine has nothing left to do that takes no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from qmpd.api.arguments import command_arguments
from qmpd.api.asks import Answer
from qmpd.api.belongings import Saved
from qmpd.api.bench import OnBench
from qmpd.api.core import Core
from qmpd.api.drivers import ByHand, Driver
from qmpd.api.handles import Bitmap, Clock, Disk, Loop
from qmpd.api.job import Job, MachineJobs
from qmpd.api.marks import load
from qmpd.api.setup import BoardName, ClockName, Disks, Images, PersonalityName, Setup, StorageName
from qmpd.api.taking_events import TakesEvents

if TYPE_CHECKING:
    import os

    from qmpd.block.images import Storage
    from qmpd.block.images.access import Paths
    from qmpd.block.images.memory import MemoryFile
    from qmpd.profile import Profile


class Machine(TakesEvents, OnBench):
    """An emulated QEMU with disks, held by this program.

    >>> import qmpd
    >>> with qmpd.Machine(disks={"disk0": "64M"}) as vm:
    ...     vm.cmd("query-status")
    {'status': 'running', 'running': True}

    Names and meanings of the methods are those of ``qemu.machine.QEMUMachine``, QEMU's own test
    library, where it has them.  A machine that is not used as a context manager needs no `close`
    unless its images are files that are to be flushed.  It may be used from one thread at a time.

    :param disks: new disks in memory, which read as zeroes: sizes by name, in bytes or with a
        suffix (``"64M"``).  Each is a raw node and a block backend, both of that name
    :param images: disks on images, by name: ``"PATH,format=qcow2"``, or a mapping with ``path``
        and the same keys.  Keys: ``format`` (raw unless given), ``size`` to make a new image,
        ``read_only``, and for new qcow2 images ``backing``, ``backing_fmt``, ``cluster_size``,
        ``compression_type``, ``extended_l2``, ``lazy_refcounts``, ``preallocation``,
        ``refcount_bits``, ``version``
    :param storage: where image files live: ``"memory"`` touches nothing on disk and takes any
        path, ``"overlay"`` reads the host's files and keeps changes in memory, ``"host"`` writes
        them
    :param version: the version of QEMU whose behaviour it has, or a profile of your own
    :param clock: how time passes.  ``"virtual"``: not at all while the machine has work, and it
        jumps to the next timer while the program waits.  ``"held"``: only by `Clock.advance`.
        ``"real"``: as the wall's
    :param seed: makes a run repeatable: names that the machine makes up, dates and thread ids
        then depend on the program alone
    :param personality: ``"system"`` for qemu-system-x86_64, ``"storage-daemon"`` for
        qemu-storage-daemon; they differ in the commands they know
    :param name: name of the guest, for query-name
    :param uuid: UUID of the guest, for query-uuid
    :param paused: whether the guest waits for ``cont``
    :param schedule: the seed of an order of events: where QEMU may do one thing or the other first,
        the seed chooses; see `qmpd.testing.schedules`
    :param allow_write: with storage ``"host"``: files and directories where images may be written;
        everywhere if absent
    :param allow_read: with storage ``"overlay"``, or with `allow_write`: files and directories that
        clients' requests may read.  Those that `images` name may be read as well
    :param allow_sockets: directories where clients' unix sockets may be, and then no other sockets
        than these are made or connected to; everywhere if absent
    :param memory_limit: how much images in memory may take in all, in bytes or with a suffix; a
        write beyond it fails like on a disk that is full.  As much as there is if absent
    :param incoming: whether it waits for the guest of another machine, with images that belong to
        that one meanwhile (``-incoming defer``); see `migrate`
    :param power: whether images keep the order of writes and flushes, for `power_loss`
    :param board: ``"pc"`` or ``"q35"`` for a machine with buses, which takes devices
        (``device_add``); ``"none"`` is QEMU's machine of that name
    :raises ValueError: a clock, storage, version, personality or board that there is not
    :raises qmpd.errors.QmpError: a disk cannot be made
    """

    def __init__(
        self,
        *,
        disks: Disks | None = None,
        images: Images | None = None,
        storage: StorageName | Storage = "memory",
        version: str | Profile = "10.0",
        clock: ClockName = "virtual",
        seed: int | None = None,
        personality: PersonalityName = "system",
        name: str | None = None,
        uuid: str = "00000000-0000-0000-0000-000000000000",
        paused: bool = False,
        power: bool = False,
        board: BoardName = "none",
        schedule: int | None = None,
        incoming: bool = False,
        allow_write: Paths | None = None,
        allow_read: Paths | None = None,
        allow_sockets: Paths | None = None,
        memory_limit: str | int | None = None,
    ) -> None:
        setup = Setup(
            disks or {},
            images or {},
            storage,
            version,
            clock,
            seed,
            personality,
            name,
            uuid,
            paused,
            power,
            board,
            schedule,
            incoming,
            allow_write,
            allow_read,
            allow_sockets,
            memory_limit,
        )
        self._begin(setup)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Make the machine that `Mark.save` has written to a file.

        >>> import qmpd
        >>> qmpd.Machine.load("pyproject.toml")
        Traceback (most recent call last):
        ValueError: 'pyproject.toml' is no machine that qmpd has saved

        Its images are in memory, wherever they were.  `reset` makes it as it was saved.  Reading
        a file runs nothing that is in it.

        :raises OSError: the file cannot be read
        :raises ValueError: it is no such file, it is damaged, or its version is not known
        :raises qmpd.errors.QmpError: something cannot be made again
        """
        machine = cls._of_core(load(path))
        machine._driver.run(machine._core.set_up(), "the start of the machine")
        return machine

    def _hold(self, core: Core) -> None:
        self._core = core
        self._by_hand = ByHand(core)
        self._driver: Driver = self._by_hand

    @classmethod
    def _of_core(cls, core: Core) -> Self:
        """A machine that has been set up."""
        machine = cls.__new__(cls)
        machine._hold(core)
        return machine

    def _begin(self, setup: Setup) -> None:
        self._hold(Core(setup))
        self._driver.run(self._core.set_up(), "the start of the machine")

    @classmethod
    def _on(cls, setup: Setup, files: dict[str, MemoryFile]) -> Self:
        """A machine on images that there are already."""
        machine = cls._of_core(Core(setup, saved=Saved(None, files)))
        machine._driver.run(machine._core.set_up(), "the start of the machine")
        return machine

    @classmethod
    def _of(cls, setup: Setup) -> Self:
        """A machine made of what tests of qmpd itself want."""
        machine = cls.__new__(cls)
        machine._begin(setup)
        return machine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End jobs and exports, write back what is to be written, and close the images.

        Closing a closed machine does nothing.  Time passes as needed, on a held clock too.
        """
        self._core.let_time_pass()
        self._driver.run(self._core.close(), "the end of the machine")

    @property
    def closed(self) -> bool:
        """Whether the machine has ended: by `close`, or because somebody said ``quit``."""
        return self._core.closed

    # Commands

    def cmd(self, cmd: str, args_dict: Mapping[str, Any] | None = None, **args: Any) -> Any:
        """Run a QMP command and return its value.

        Arguments are given by keyword, with underscores for dashes, or in a dictionary just as
        they go over QMP.

        >>> import qmpd
        >>> with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        ...     vm.cmd("block-dirty-bitmap-add", node="disk0", name="b0")
        ...     try:
        ...         vm.cmd("blockdev-del", node_name="nope")
        ...     except qmpd.errors.GenericError as error:
        ...         print(error.desc)
        {}
        Failed to find node with node-name='nope'

        :param args_dict: the arguments, instead of keywords
        :returns: the ``return`` member of the answer, ``{}`` where the command returns nothing
        :raises qmpd.errors.QmpError: the command fails; ``error_class`` and ``desc`` are the
            answer's
        :raises qmpd.errors.WaitsForever: the command waits for what nothing will bring
        :raises qmpd.errors.MachineClosed: the machine has ended
        """
        work = self._core.cmd(cmd, command_arguments(args_dict, args))
        return self._driver.run(work, f"command {cmd}")

    def qmp(self, cmd: str, args_dict: Mapping[str, Any] | None = None, **args: Any) -> Answer:
        """Run a QMP command and return its answer, whether it succeeds or fails.

        >>> import qmpd
        >>> with qmpd.Machine() as vm:
        ...     vm.qmp("blockdev-del", node_name="nope")["error"]["class"]
        'GenericError'

        :param args_dict: the arguments, instead of keywords; see `cmd`
        :returns: ``{"return": ...}`` or ``{"error": {"class": ..., "desc": ...}}``
        :raises qmpd.errors.WaitsForever: the command waits for what nothing will bring
        :raises qmpd.errors.MachineClosed: the machine has ended
        """
        work = self._core.qmp(cmd, command_arguments(args_dict, args))
        return self._driver.run(work, f"command {cmd}")

    def send_fd_scm(self, fd: int) -> None:
        """Hand over a file descriptor, as SCM_RIGHTS does, for the next command that takes one.

        >>> import qmpd, tempfile
        >>> with qmpd.Machine() as vm, tempfile.TemporaryFile() as file:
        ...     vm.send_fd_scm(file.fileno())
        ...     _ = vm.cmd("add-fd", {"fdset-id": 1, "opaque": "scratch"})
        ...     vm.cmd("query-fdsets")[0]["fdset-id"]
        1

        The machine gets a duplicate.  A descriptor that nobody has taken is closed when the next
        one comes.

        :param fd: an open descriptor, for getfd or add-fd
        :raises OSError: it is not open
        :raises qmpd.errors.MachineClosed: the machine has ended
        """
        self._core.send_fd_scm(fd)

    def hmp(self, command_line: str) -> str:
        """Run a line of the human monitor and return what it shows.

        >>> import qmpd
        >>> with qmpd.Machine() as vm:
        ...     print(vm.hmp("info status").strip())
        VM status: running

        What HMP's ``qemu-io`` prints goes to QEMU's standard output, and so to `printed`.

        :returns: the text as human-monitor-command returns it, lines ended by CR and LF
        """
        text: str = self.cmd("human-monitor-command", {"command-line": command_line})
        return text

    @property
    def printed(self) -> list[str]:
        """What QEMU would have printed on its standard output; may be cleared."""
        return self._core.host.printed

    @property
    def complaints(self) -> list[str]:
        """What QEMU would have printed on its standard error; may be cleared."""
        return self._core.host.complaints

    # Views

    def disk(self, name: str) -> Disk:
        """The disk of a name, to read and write as its guest does.

        >>> import qmpd
        >>> with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        ...     vm.disk("disk0").write(4096, b"hello")
        ...     vm.disk("disk0").read(4096, 5)
        b'hello'

        :param name: of a block backend or a device; or of a node, whatever stands on it
        """
        return Disk(self, name)

    def job(self, job_id: str) -> Job:
        """The job of an id, running or gone."""
        return Job(MachineJobs(self), job_id)

    def bitmap(self, node: str, name: str) -> Bitmap:
        """A dirty bitmap.

        :param node: of the node that has it, or of the backend on that node
        """
        return Bitmap(self, node, name)

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        """What query-named-block-nodes says of each node, by the nodes' names, newest first."""
        infos = self.cmd("query-named-block-nodes", {"flat": True})
        return {info["node-name"]: info for info in infos}

    @property
    def clock(self) -> Clock:
        """The machine's time."""
        return Clock(self)

    @property
    def loop(self) -> Loop:
        """The machine's main loop."""
        return Loop(self)

    # Sockets

    @overload
    def serve(
        self,
        unix: str | os.PathLike[str] | None = None,
        *,
        control: str | os.PathLike[str] | None = None,
    ) -> AbstractContextManager[str]: ...

    @overload
    def serve(
        self, *, tcp: tuple[str, int], control: str | os.PathLike[str] | None = None
    ) -> AbstractContextManager[tuple[str, int]]: ...

    def serve(
        self,
        unix: str | os.PathLike[str] | None = None,
        *,
        tcp: tuple[str, int] | None = None,
        control: str | os.PathLike[str] | None = None,
    ) -> AbstractContextManager[Any]:
        """Put the machine behind a socket, for a client in any language, as long as a block lasts.

        A thread runs the machine and serves one client at a time.  The program may go on to call
        the machine.  A virtual clock jumps whenever the machine has nothing to do, also to the
        end of the time that an NBD client has for its handshake; a held one moves only when told.

        >>> import qmpd, socket
        >>> with qmpd.Machine() as vm, vm.serve() as path:
        ...     with socket.socket(socket.AF_UNIX) as client:
        ...         client.connect(path)
        ...         print(client.recv(1000)[:8])
        b'{"QMP": '

        :param unix: path of the unix socket; one in a directory of its own if absent
        :param tcp: host and port instead; port 0 for any that is free
        :param control: path of a further unix socket, for the control monitor (docs/control.md)
        :returns: a context manager, which yields the path, or host and port.  Clients can connect
            when it does; they are disconnected when the block ends
        :raises qmpd.errors.GenericError: nothing can listen there
        """
        from qmpd.api import serving

        return serving.serve(self, unix, tcp, control)
