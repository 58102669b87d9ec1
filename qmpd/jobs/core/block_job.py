"""Block jobs: jobs that copy between nodes, with a speed, an I/O status and events of their own."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

from qmpd.base.newest_first import NewestFirst
from qmpd.base.override import override
from qmpd.block.change.aio_context import come_together, go_home
from qmpd.block.change.closing import release, unref
from qmpd.block.change.edges import add_parent, remove_parent
from qmpd.block.change.graph_lock import standstill, write_lock
from qmpd.block.change.permissions import loosen_permissions, refresh_permissions
from qmpd.block.io.backend import BlockBackend
from qmpd.block.model.blockers import Blocker
from qmpd.block.model.node import Edge
from qmpd.block.model.parent import CHILD_JOB, Parent
from qmpd.block.permission_bits import ALL, NOTHING, GraphMod, Perm, Permissions
from qmpd.errors import BlockIOError, GenericError, QmpError
from qmpd.jobs.core.job import Job
from qmpd.jobs.core.states import ERROR_ACTIONS, ErrorAction, JobVerb, OnError
from qmpd.loop.rate_limit import RateLimit

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.jobs.core.job_txn import JobTxn
    from qmpd.jobs.core.options import JobOptions
    from qmpd.jobs.core.protocols import Listing
    from qmpd.loop.task import Waiter

_SPEED_NEGATIVE = "Parameter 'speed' expects a non-negative value"


class BlockJob(Job, Parent):
    """Base of backup, mirror, commit and stream.

    :param node: the node it was started on; its backend's name is the default id
    :param options: its id, its speed and how it ends
    :raises GenericError: the id is malformed or in use
    """

    can_change: ClassVar[bool] = False
    """Whether verb change means something for this type."""
    hold: ClassVar[Permissions] = (NOTHING, ALL)
    """What it needs on its main node, and what it leaves to others."""
    backend: BlockBackend | None = None
    """What it holds its main node by, where jobs have a backend."""

    def __init__(
        self,
        table: Listing,
        node: Node,
        options: JobOptions,
        *,
        txn: JobTxn | None = None,
    ) -> None:
        super().__init__(
            table,
            node.device_name if options.job_id is None else options.job_id,
            txn=txn,
            auto_finalize=options.auto_finalize,
            auto_dismiss=options.auto_dismiss,
        )
        self.node = node
        self.aio_context = node.aio_context
        self._graph = node.graph
        self._first_speed = options.speed
        self.speed = 0
        self.io_status = "ok"
        self.limit = RateLimit()
        self._delay = 0
        self.edges: NewestFirst[Edge] = NewestFirst()
        """Its holds on nodes, the oldest first."""
        self._blocker = Blocker(f"block device is in use by block job: {self.job_type}")

    @classmethod
    async def create(cls, table: Listing, node: Node, *arguments: Any, **more: Any) -> Self:
        """A new job that holds its main node (block_job_create).

        :param arguments: the other ones of the constructor
        :raises GenericError: the id is malformed or in use, the speed is negative, or the node's
            other parents object
        """
        backend: BlockBackend | None = None
        if table.manners.jobs_have_a_backend:
            backend = await BlockBackend.on(
                node, perm=cls.hold[0], shared=cls.hold[1], queues=False
            )
            backend.follows_node = True
        failure: QmpError | None = None
        try:
            async with write_lock(node.graph):
                job = cls(table, node, *arguments, **more)
                job.backend = backend
                try:
                    job.take_main_node()
                except QmpError as error:
                    failure = error
        except BaseException:
            if backend is not None:
                await backend.close()
            raise
        if failure is not None:
            await job.fail_creation()
            raise failure
        return job

    def take_main_node(self) -> None:
        """Hold the main node and set the speed; called by `create`.

        :raises GenericError: permissions conflict with other parents, or the speed is negative
        """
        hold = self.hold if self.backend is None else (NOTHING, ALL)
        self.add_node("main node", self.node, *hold)
        if self._first_speed < 0:
            raise GenericError(_SPEED_NEGATIVE)
        if self._first_speed:
            self.set_speed(self._first_speed)

    # The nodes it works on

    @property
    def user_description(self) -> str:
        """How permission conflicts call the job."""
        return f"{self.job_type} job '{self.id}'"

    def add_node(
        self,
        name: str,
        node: Node,
        perm: Perm,
        shared: Perm,
        graph_mod: GraphMod = GraphMod.SHARED,
    ) -> None:
        """Hold another node, and block most operations on it (block_job_add_bdrv).

        :param name: what the node is for the job
        :raises GenericError: permissions conflict with those of other parents
        """
        edge = Edge(name, CHILD_JOB, node, user=self, perm=perm, shared=shared)
        edge.graph_mod = graph_mod
        part = come_together(edge)
        add_parent(edge)
        try:
            refresh_permissions(node)
        except BaseException:
            remove_parent(edge)
            part()
            raise
        self.edges.add(edge)
        node.blockers.add(self._blocker)
        self._graph.readers[self] = None

    async def _remove_nodes(self) -> None:
        edges = list(self.edges)
        self._graph.readers.pop(self, None)
        for edge in edges:
            # One after the other: what it still holds has a say in where the node may go.
            self.edges.remove(edge)
            edge.node.blockers.remove(self._blocker)
            remove_parent(edge)
            await go_home(edge.node)
        for edge in edges:
            if edge.node.is_held():
                loosen_permissions(edge.node)

    @override
    def check_context_change(self) -> None:
        """A job goes where its nodes go."""

    @property
    def holds(self) -> Sequence[Edge]:
        """Its holds on nodes: all of them move to another loop together."""
        return self.edges

    async def remove_nodes(self) -> None:
        """Release all nodes; the caller must close those that nothing else holds."""
        async with write_lock(self._graph):
            await self._remove_nodes()

    async def free_nodes(self) -> None:
        """Release all nodes, closing those that nothing else holds (block_job_remove_all_bdrv)."""
        nodes = [edge.node for edge in self.edges]
        async with standstill(self._graph):
            await self.remove_nodes()
            for node in nodes:
                await unref(node)

    @override
    async def free(self) -> None:
        await self.free_nodes()
        if self.backend is not None:
            await self.backend.close()

    @asynccontextmanager
    async def nodes_let_go(self) -> AsyncIterator[None]:
        """Release all nodes; those that nothing else holds are closed on exit."""
        nodes = [edge.node for edge in self.edges]
        for node in nodes:
            node.hold()
        await self.remove_nodes()
        try:
            yield
        finally:
            for node in nodes:
                await release(node)

    # Verbs of block jobs alone

    def set_speed(self, speed: int) -> None:
        """Verb set-speed: `speed` is in bytes per second, 0 for no limit."""
        self.check_verb(JobVerb.SET_SPEED)
        if speed < 0:
            raise GenericError(_SPEED_NEGATIVE)
        before, self.speed = self.speed, speed
        self.limit.set_speed(speed)
        self.on_set_speed()
        if not speed or speed > before:
            self.enter(lambda: self.sleeping)

    def on_set_speed(self) -> None:
        """Called after the speed has changed."""

    async def change(self, options: Any) -> None:
        """Verb change.

        :param options: BlockJobChangeOptions, as attributes
        """
        self.check_verb(JobVerb.CHANGE)
        if not self.can_change:
            raise GenericError("Job type does not support change")
        await self.change_work(options)

    async def change_work(self, options: Any) -> None:
        """Apply verb change (types with `can_change` only)."""

    # For the work

    def processed(self, length: int) -> None:
        """Count `length` copied bytes against the speed limit."""
        self._delay = self.limit.delay(self.table.clock.now(), length)

    def passed_over(self) -> None:
        """A chunk had nothing to copy, which costs nothing."""
        self._delay = 0

    async def limit_speed(self) -> None:
        """Wait as the speed limit requires; always yields (block_job_ratelimit_sleep)."""
        if self._graph.services.manners.delays_are_cut_short:
            await self.sleep(self._delay)
            return
        while True:
            delay = self.limit.delay(self.table.clock.now())
            await self.sleep(delay)
            if not delay or self.cancelled:
                return

    def io_failed(self, policy: OnError, error_number: int, *, read: bool) -> ErrorAction:
        """Report a failed request and decide what to do (block_job_error_action).

        With action stop, the job is paused as if by its user, and the work retries the
        request after its next pause point.

        :param error_number: positive errno
        :param read: whether it was a read
        """
        no_space = error_number == errno.ENOSPC
        action = ERROR_ACTIONS[policy][0 if no_space else 1]
        self.table.emit(
            "BLOCK_JOB_ERROR",
            {
                "device": self.id,
                "operation": "read" if read else "write",
                "action": action.value,
            },
        )
        if action is ErrorAction.STOP:
            if not self.user_paused:
                self.pause()
                self.user_paused = True
            if self.io_status == "ok":
                self.io_status = "nospace" if no_space else "failed"
        return action

    @override
    def forget_io_errors(self) -> None:
        self.io_status = "ok"

    @override
    def on_user_resume(self) -> None:
        """Forget I/O errors."""
        self.forget_io_errors()

    def node_activated(self) -> None:
        """Do nothing: a job's permissions do not depend on activation (`Parent`)."""

    def node_inactivated(self) -> None:
        """Do nothing, see `node_activated`."""

    def node_resized(self) -> None:
        """Do nothing: a job keeps the length that it had at its start."""

    # Drains of the graph

    def drained_begin(self) -> None:
        """Pause: a node of the job is being drained."""
        self.pause()

    def drained_poll(self) -> Waiter | None:
        """What to wait for while the job is at work; None once it is quiet."""
        if not self.busy or self.completed:
            return None
        return self.watch()

    def drained_end(self) -> None:
        """Take back one `drained_begin`."""
        self.resume()

    @property
    def at_work(self) -> bool:
        """Whether its work is running: started, not ended and not paused."""
        stands_still = self.paused and self.pause_count > 0
        return self.started and not stands_still and not self.work_ended

    def reading(self) -> Waiter | None:
        """A waiter for the next pause point of its work; None if that is not running."""
        return None if self.work_ended else self.drained_poll()

    # What is seen of it

    def block_info(self) -> dict[str, Any]:
        """BlockJobInfo, members in schema order."""
        info: dict[str, Any] = {
            "type": self.job_type,
            "device": self.id,
            "len": self.progress.total,
            "offset": self.progress.current,
            "busy": self.busy,
            "paused": self.pause_count > 0,
            "speed": self.speed,
            "io-status": self.io_status,
            "ready": self.ready,
            "status": self.status.value,
            "auto-finalize": self.auto_finalize,
            "auto-dismiss": self.auto_dismiss,
        }
        if self.error is not None:
            info["error"] = self._told_error(self.error)
        info.update(self.more_info())
        return info

    def _told_error(self, error: QmpError) -> str:
        """An error that the job has failed with, as block jobs tell it."""
        if not self.table.manners.job_errors_are_numbers:
            return error.desc
        number = error.errno if isinstance(error, BlockIOError) else errno.EINVAL
        return os.strerror(number)

    def more_info(self) -> dict[str, Any]:
        """Members of BlockJobInfo for this type of job."""
        return {}

    @override
    def emit_pending(self) -> None:
        self.table.emit("BLOCK_JOB_PENDING", {"type": self.job_type, "id": self.id})

    @override
    def emit_ready(self) -> None:
        self.table.emit("BLOCK_JOB_READY", self._progress())

    @override
    def emit_ended(self) -> None:
        if self.cancelled:
            self.table.emit("BLOCK_JOB_CANCELLED", self._progress())
            return
        data = self._progress()
        if self.error is not None:
            data["error"] = self._told_error(self.error)
        self.table.emit("BLOCK_JOB_COMPLETED", data)

    def _progress(self) -> dict[str, Any]:
        return {
            "type": self.job_type,
            "device": self.id,
            "len": self.progress.total,
            "offset": self.progress.current,
            "speed": self.speed,
        }
