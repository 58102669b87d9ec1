"""What a machine is made of below its monitors: graph, exports, jobs, objects, devices, drives.

A part is built when something first asks for it: a machine that has only been made imports none
of these modules, so that a daemon greets its first client early.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from qmpd.block.change.activation import set_active
from qmpd.block.change.closing import close_all
from qmpd.block.change.drain import drain_all, drain_all_begin
from qmpd.block.io.backends import named_backends
from qmpd.block.model.graph import Graph
from qmpd.block.model.walk import top_nodes
from qmpd.errors import BlockIOError
from qmpd.machine.devices.board import Board

if TYPE_CHECKING:
    from qmpd.block.model.services import Services
    from qmpd.export.exports import BlockExports
    from qmpd.export.nbd.control import NbdControl
    from qmpd.jobs.core.job_list import JobTable
    from qmpd.loop.secure import Credentials
    from qmpd.machine.devices.chassis import Chassis
    from qmpd.machine.devices.tree import DeviceTree
    from qmpd.machine.drives.options import Drives
    from qmpd.machine.host import Host
    from qmpd.machine.objects import ObjectContainer, UserObject
    from qmpd.profile.rules import Rules


class Parts:
    """The parts of one machine, and what is done with all of them.

    :param chassis: the machine, as its devices see it
    :param services: the surroundings of its graph
    :param host: the process that it lives in
    :param board: the buses and devices that it has from the start; None: none
    :param rules: what holds in its version
    """

    def __init__(
        self,
        chassis: Chassis,
        services: Services,
        host: Host,
        board: Board | None,
        rules: Rules,
    ) -> None:
        self._chassis = chassis
        self._services = services
        self._host = host
        self._rules = rules
        self._board = Board() if board is None else board
        self.graph = Graph(services)
        self._jobs_ended = False

    @cached_property
    def exports(self) -> BlockExports:
        """Its block exports."""
        from qmpd.export.exports import BlockExports

        return BlockExports(self.graph, emit=self._services.emit)

    @property
    def has_exports(self) -> bool:
        """Whether there is one; to ask loads nothing, for which there may be no descriptor."""
        return "exports" in vars(self) and bool(self.exports.exports)

    @cached_property
    def objects(self) -> ObjectContainer:
        """Its user-creatable objects."""
        from qmpd.machine.objects import ObjectContainer

        groups, thread_id = self.graph.throttle_groups, self._services.thread_id
        made = ObjectContainer(groups, thread_id, self._chassis.profile, self._make_object)
        if self._board.backend is not None:
            size = {"size": self._board.memory}
            made.add("memory-backend-ram", self._board.backend, size)
            made.objects[self._board.backend].users += 1
        return made

    def _make_object(self, qom_type: str, object_id: str) -> UserObject | None:
        if qom_type.startswith(("tls-", "authz-")):
            from qmpd.machine.tls.makers import make

            storage, objects = self._services.storage, self.objects.objects
            return make(qom_type, object_id, storage, objects)
        from qmpd.machine.backends import MAKERS

        maker = MAKERS.get(qom_type)
        return None if maker is None else maker(object_id, self._services.storage.host)

    def credentials(self, object_id: str, endpoint: str) -> Credentials:
        """The TLS credentials of an object.

        :param endpoint: whose they have to be, ``client`` or ``server``
        :raises GenericError: there are no such
        """
        from qmpd.machine.tls.credentials import find_credentials

        return find_credentials(self.objects.objects, object_id, endpoint)

    @cached_property
    def nbd(self) -> NbdControl:
        """Its NBD server."""
        from qmpd.export.nbd.control import NbdControl
        from qmpd.export.nbd.dialect import USUAL, Dialect

        clock = self._services.clocks.realtime
        report = self._services.say.report
        holds = self._rules.holds
        dialect = Dialect(
            extended_headers=holds("nbd-extended-headers"),
            shares_writable=holds("nbd-writable-multi-conn"),
            answers_bad_magic=holds("nbd-answers-bad-magic"),
            lists_early=holds("nbd-lists-early"),
            handshake_seconds=USUAL.handshake_seconds if holds("nbd-handshake-limit") else 0,
            max_connections=USUAL.max_connections if holds("nbd-connection-limit") else 0,
        )
        return NbdControl(clock, self.exports, self._host, self.credentials, report, dialect)

    @cached_property
    def jobs(self) -> JobTable:
        """Its jobs."""
        from qmpd.jobs.core.job_list import JobTable

        services = self._services
        clock = services.clocks.realtime
        return JobTable(emit=services.emit, clock=clock, manners=services.manners)

    @cached_property
    def devices(self) -> DeviceTree:
        """Its devices."""
        from qmpd.machine.devices.tree import DeviceTree

        return DeviceTree(self._chassis, self._board)

    @cached_property
    def drives(self) -> Drives:
        """Its drives."""
        from qmpd.machine.drives.options import Drives

        return Drives(self.graph, self._board, self._chassis.profile)

    def _has(self, part: str) -> bool:
        """Whether anything has asked for a part."""
        return part in self.__dict__

    @property
    def jobs_at_work(self) -> bool:
        """Whether any job is not over and done with."""
        if not self._has("jobs"):
            return False
        from qmpd.jobs.core.states import JobStatus

        return any(job.status is not JobStatus.CONCLUDED for job in self.jobs.jobs)

    def unmigratable(self) -> list[str]:
        """The devices whose state cannot be saved."""
        return self.devices.unmigratable() if self._has("devices") else []

    def guest_started(self) -> None:
        """Tell those who have waited that the guest runs (``vm_state_notify``)."""
        waiting, self.graph.on_start = self.graph.on_start, []
        for callback in waiting:
            callback()

    def resume_devices(self) -> None:
        """The guest runs: devices do again what it waited for."""
        if not self._has("devices"):
            return
        from qmpd.machine.devices.guest_io import resume

        for device in self.devices.parts():
            resume(device)

    def drop_requests(self) -> None:
        """The guest is reset: what it waited for is not done any more."""
        if self._has("devices"):
            from qmpd.machine.devices.guest_io import drop

            for device in self.devices.parts():
                drop(device)

    def forget_io_errors(self) -> None:
        """Every backend with a name is as if no request had failed (``blk_iostatus_reset``).

        QEMU goes through the monitor's backends only, so that the io-status of a device that is
        on a node stays.
        """
        for backend in named_backends(self.graph):
            backend.reset_io_status()

    def forget_job_errors(self) -> None:
        """Every block job is as if no request had failed (``block_job_iostatus_reset``)."""
        if self._has("jobs"):
            for job in self.jobs.jobs:
                job.forget_io_errors()

    async def set_active(self, active: bool) -> None:
        """Take back every image that was given up to another process, or give all up.

        That is ``bdrv_activate_all`` and ``bdrv_inactivate_all``.

        :raises QmpError: one of them cannot be
        """
        await set_active(self.graph, None, active)

    async def flush_disks(self, *, strict: bool = False) -> None:
        """Let all requests under way end, and write out what disks keep back (`bdrv_flush_all`).

        :param strict: whether a failure is told, of the first disk that fails
        :raises BlockIOError: see `strict`
        """
        await drain_all(self.graph)
        failure: BlockIOError | None = None
        for node in list(top_nodes(self.graph)):
            if not node.read_only:
                try:
                    await node.flush()
                except BlockIOError as error:
                    failure = failure or error
        if strict and failure is not None:
            raise failure

    async def end_jobs(self, *, has_guest: bool) -> None:
        """Close exports, drain all requests, and cancel every job.

        The drained section does not end, as in ``qemu_cleanup``: speed limits must not delay jobs.

        :param has_guest: whether a guest ends, too
        """
        if self._has("exports"):
            await self.exports.close_all()
        if self._has("nbd"):
            await self.nbd.close()
        if not self._jobs_ended:
            self._jobs_ended = True
            if has_guest:
                # the guest's end is a section of its own, after which jobs take one more step
                await drain_all(self.graph)
            await drain_all_begin(self.graph)
        if self._has("jobs"):
            await self.jobs.cancel_all()

    async def close(self) -> None:
        """Close all nodes: images are flushed, bitmaps stored."""
        await close_all(self.graph)

    def cut(self) -> None:
        """Let go of all images, as a process does that is killed."""
        for node in self.graph.nodes():
            node.driver.cut()
