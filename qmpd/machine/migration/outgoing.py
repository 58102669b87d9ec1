"""A migration to another machine: what QEMU's migration thread does, as a task.

Memory has size 0, so what is left to send are dirty bitmaps.  QEMU counts their granules as bytes
of memory that has yet to go, and stops the guest for the rest once that can be sent within
``downtime-limit``.  QEMU measures how fast it sends; qmpd takes ``max-bandwidth`` for it.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING, Final

from qmpd.base.run_state import RunState
from qmpd.errors import BlockIOError, GenericError, QmpError
from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.stream import Channel, Disconnected
from qmpd.loop.task import Waiter
from qmpd.machine.migration import stream as form
from qmpd.machine.migration.bitmap_format import EOS
from qmpd.machine.migration.bitmaps_out import BitmapsOut
from qmpd.machine.migration.global_state import global_state
from qmpd.machine.migration.status import RUNNING, Progress, milliseconds
from qmpd.machine.migration.stream import Answer, Command, Section

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.loop.clock import Clock
    from qmpd.loop.task import Handle, Task
    from qmpd.machine.host import StreamPeer
    from qmpd.machine.migration.capabilities import Capabilities
    from qmpd.machine.migration.guest import Guest
    from qmpd.machine.migration.parameters import Parameters

_ROUND: Final = NANOSECONDS // 10
"""Nanoseconds between two looks at what is left to send (``BUFFER_DELAY``)."""

_BATCH: Final = 1 << 16
"""Bytes of bitmaps written at a time."""

_EOS: Final = bytes([EOS])
_BROKEN: Final = "Channel error: Input/output error"


class Failed(Exception):
    """The migration fails, or has been cancelled.

    :param reason: why, if that is to be told
    """

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason or "")
        self.reason = reason


class Outgoing:
    """One migration to another machine, from the command on.

    :param tell: told of each new state
    :param complain: takes what goes to standard error
    """

    def __init__(
        self,
        guest: Guest,
        capabilities: Capabilities,
        parameters: Parameters,
        tell: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        self._guest = guest
        self._clock: Clock = guest.services.clocks.realtime
        self._capabilities = capabilities
        self._parameters = parameters
        self._tell = tell
        self._complain = complain
        self._channel: Channel | None = None
        self._peer: StreamPeer | None = None
        self._bitmaps: BitmapsOut | None = None
        self._before: RunState | None = None
        self._pause: Waiter | None = None
        self._round: Waiter | None = None
        self._abandoned = False
        self._waiting: list[Callable[[], None]] = []
        self._answered = False
        """Whether the target tells how it went."""
        self._task: Task | None = None
        self.dial: Handle | None = None
        """The attempt to connect."""
        self.postcopy_wanted = False
        self.progress = Progress(self._clock.now())
        self.state = "none"
        self.error: str | None = None
        self.set_state("setup")

    def set_state(self, state: str) -> None:
        """Be in another state, and tell so."""
        self.state = state
        self._tell(state)
        self._settle()

    def _settle(self) -> None:
        if self.state not in ("setup", "active"):
            waiting, self._waiting = self._waiting, []
            for callback in waiting:
                self._clock.call_soon(callback)

    def when_settled(self, callback: Callable[[], None]) -> None:
        """Call `callback` once it is not on its way any more, or about to end."""
        self._waiting.append(callback)
        self._settle()

    @property
    def running(self) -> bool:
        """Whether it is under way (``migration_is_running``)."""
        return self.state in RUNNING

    def info(self) -> dict[str, object]:
        """MigrationInfo, as far as it is about this migration."""
        info: dict[str, object] = {"status": self.state}
        if self.state == "completed" or (self.running and self.state != "setup"):
            info.update(self.progress.info(self.state, self._clock.now()))
        if self.error is not None:
            info["error-desc"] = self.error
        return info

    # What is done to it

    def refused(self, error: QmpError) -> None:
        """There is no connection, and who has asked for the migration is told so."""
        self.set_state("failed")
        self.error = error.desc

    def not_connected(self, error: QmpError) -> None:
        """There will be no connection."""
        if self.running:
            self.set_state("failed")
            self.error = error.desc
            self._complain(error.desc)

    def connect(self, peer: StreamPeer) -> Channel:
        """There is a connection: begin."""
        self.error = None
        self._peer = peer
        self._channel = channel = Channel(peer, self._clock)
        self.progress.expected_downtime = self._parameters["downtime-limit"]
        self._later(self._begin)
        return channel

    def _later(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the present command has been answered.

        In QEMU a thread does the work, which does not begin before.
        """
        self._clock.call_soon(lambda: self._clock.call_soon(callback))

    def _begin(self) -> None:
        if self.running:
            self._task = self._clock.enter(self._run(), "migration")

    def cancel(self) -> None:
        """Command migrate_cancel."""
        if not self.running or self.state == "cancelling":
            return
        before = self.state
        self.set_state("cancelling")
        if before == "pre-switchover":
            self.go_on()
        if self._peer is None:
            if self.dial is not None:
                self.dial.cancel()
            self.set_state("cancelled")
        else:
            self.cut()

    def cut(self) -> None:
        """Break the connection, as yank does."""
        if self._channel is not None and self._peer is not None:
            self._peer.fail(_BROKEN)
            self._later(self._channel.closed)
            self.wake()

    async def abandon(self) -> None:
        """The machine ends: leave it as it is (``migration_shutdown``)."""
        if not self.running or self._abandoned:
            return
        self._abandoned = True
        if self.state != "cancelling":
            self.set_state("cancelling")
        if self._task is not None:
            self._task.cancel()
        elif self.dial is not None:
            self.dial.cancel()
        if self._bitmaps is not None:
            await self._bitmaps.release()
        if self._channel is not None:
            self._channel.cut()

    def go_on(self) -> None:
        """Command migrate-continue: leave pre-switchover."""
        if self._pause is not None:
            self._later(self._pause.wake)

    def wake(self) -> None:
        """Look now at what is left, and at what has been asked for."""
        if self._round is not None:
            self._later(self._round.wake)

    # What it does

    async def _run(self) -> None:
        assert self._channel is not None
        started = self._clock.now()
        try:
            await self._set_up()
            self.progress.setup_time = milliseconds(self._clock.now() - started)
            while self.state == "active":
                await self._iterate()
            if self.state == "postcopy-active":
                await self._follow()
            if self.state == "cancelling":
                raise Failed
        except Failed as failed:
            self._fail(failed.reason)
        else:
            await self._release()
            self.progress.end(self._clock.now())
            self.set_state("completed")
        await self._finish()
        await self._release()
        self._channel.cut()
        if self.state == "cancelling":
            self.set_state("cancelled")
        if self.error is not None:
            self._complain(self.error)

    def _fail(self, reason: str | None) -> None:
        if self.error is None:
            self.error = reason
        if self.state != "cancelling":
            self.set_state("failed")

    async def _finish(self) -> None:
        """What becomes of the guest (``migration_iteration_finish``)."""
        guest = self._guest
        if self.state == "completed":
            guest.run_state = RunState.POSTMIGRATE
            return
        try:
            await guest.set_disks_active(True)
        except QmpError as error:
            self._complain(error.desc)
        if self._before is RunState.RUNNING:
            if guest.run_state is not RunState.SHUTDOWN:
                guest.start()
        elif self._before is not None and guest.run_state is RunState.FINISH_MIGRATE:
            guest.run_state = self._before

    async def _release(self) -> None:
        if self._bitmaps is not None:
            await self._bitmaps.release()

    async def _send(self, data: bytes) -> None:
        """Send, and see whether all has been sent.

        :raises Failed: the connection is broken
        """
        assert self._channel is not None
        assert self._peer is not None
        self.progress.transferred += len(data)
        try:
            await self._channel.write(data)
        except Disconnected:
            raise Failed(_BROKEN) from None
        self._check()

    def _check(self) -> None:
        """See whether the connection is whole.

        :raises Failed: it is broken
        """
        if self._peer is not None and self._peer.failure is not None:
            raise Failed(None if self.state == "cancelling" else self._peer.failure)

    async def _set_up(self) -> None:
        may = self._capabilities
        data = form.header(self._guest.machine_type)
        if may["postcopy-ram"] or may["return-path"]:
            self._answered = True
            data += form.command(Command.OPEN_RETURN_PATH)
            data += form.command(Command.PING, struct.pack(">I", 1))
        if may["postcopy-ram"] or may["dirty-bitmaps"]:
            data += form.advise(memory=may["postcopy-ram"])
        self._pass()
        try:
            if may["dirty-bitmaps"]:
                data += self._take_bitmaps()
        except GenericError as error:
            self._become_active()
            raise Failed(error.desc) from None
        try:
            await self._send(data)
        finally:
            self._become_active()

    def _take_bitmaps(self) -> bytes:
        self._bitmaps = BitmapsOut(self._guest.graph, self._parameters["block-bitmap-mapping"])
        if not self._bitmaps.any:
            return b""
        return form.section(Section.START, form.BITMAPS, (self._bitmaps.start(), _EOS))

    def _become_active(self) -> None:
        if self.state == "setup":
            self.set_state("active")

    def _pass(self) -> None:
        """Memory is looked through for what has changed."""
        self.progress.passes += 1
        self._guest.services.emit("MIGRATION_PASS", {"pass": self.progress.passes})

    @property
    def _pending(self) -> int:
        return 0 if self._bitmaps is None else self._bitmaps.pending

    @property
    def _threshold(self) -> float:
        """How much may be left to send when the guest is stopped."""
        bandwidth = self._parameters["avail-switchover-bandwidth"]
        bandwidth = bandwidth or self._parameters["max-bandwidth"] or float("inf")
        limit: int = self._parameters["downtime-limit"]
        return float(bandwidth) / 1000 * limit if limit else 0.0

    async def _iterate(self) -> None:
        """One step (``migration_iteration_run``)."""
        if not self._pending:
            await self._complete()
            return
        if self.postcopy_wanted:
            await self._start_postcopy()
            return
        began = self._clock.now()
        await self._wait(_ROUND)
        if self.state != "active":
            return
        await self._send(form.section(Section.PART, form.BITMAPS, (_EOS,)))
        if self._clock.now() - began >= _ROUND and self._pending < self._threshold:
            self._pass()
            await self._complete()

    async def _wait(self, nanoseconds: int) -> None:
        """Wait so long, or until `wake`."""
        self._round = Waiter()
        timer = self._clock.call_later(nanoseconds, self._round.wake)
        try:
            await self._round
        finally:
            self._round = None
            timer.cancel()

    async def _switch_over(self) -> bytes:
        """Stop the guest and give up its disks; returns what it did, to be sent."""
        self.progress.stopped = self._clock.now()
        self._before = before = self._guest.run_state
        try:
            await self._guest.force_stop(RunState.FINISH_MIGRATE)
        except BlockIOError as error:
            reason = os.strerror(error.errno or errno.EIO)
            raise Failed(f"Error in migration completion: {reason}") from None
        if self.state == "cancelling":
            raise Failed(_BROKEN)
        if self._capabilities["pause-before-switchover"]:
            await self._wait_to_go_on()
        self.set_state("device")
        try:
            await self._guest.set_disks_active(False)
        except QmpError:
            self._complain("migration_block_inactivate: bdrv_inactivate_all() failed: -1")
            reason = os.strerror(errno.EFAULT)
            raise Failed(f"Error in migration completion: {reason}") from None
        return form.section(Section.FULL, form.GLOBAL_STATE, (global_state(before),))

    async def _wait_to_go_on(self) -> None:
        self._pause = Waiter()
        self.set_state("pre-switchover")
        try:
            await self._pause
        finally:
            self._pause = None
        if self.state == "cancelling":
            raise Failed(_BROKEN)

    async def _complete(self) -> None:
        """Send all that is left while the guest stands still."""
        state = await self._switch_over()
        self._pass()
        if self._bitmaps is not None and self._bitmaps.any:
            await self._send_pieces(0)
            end = (self._bitmaps.complete(), _EOS)
            await self._send(form.section(Section.END, form.BITMAPS, end))
        await self._send(state + bytes([Section.EOF]))
        await self._hear_end()

    async def _start_postcopy(self) -> None:
        """Let the guest run at its new place; the bitmaps follow."""
        state = await self._switch_over()
        self._pass()
        listen, run = form.command(Command.POSTCOPY_LISTEN), form.command(Command.POSTCOPY_RUN)
        await self._send(form.package(listen + state + run))
        self.progress.stood_still(self._clock.now())
        self.set_state("postcopy-active")

    async def _follow(self) -> None:
        """Send the bitmaps after the guest.

        :raises Failed: that has been cancelled
        """
        assert self._bitmaps is not None
        try:
            await self._send_pieces(self._parameters["max-postcopy-bandwidth"])
            end = form.section(Section.END, form.BITMAPS, (self._bitmaps.complete(), _EOS))
            await self._send(end + bytes([Section.EOF]))
            await self._hear_end()
        except Failed:
            if self.state != "postcopy-active":
                raise
            self.set_state("postcopy-paused")
            self._complain("Detected IO failure for postcopy. Migration paused.")
            while self.state == "postcopy-paused":
                await self._wait(_ROUND)
            raise Failed from None

    async def _send_pieces(self, limit: int) -> None:
        """Send the bits of all bitmaps; in between, others have their turn.

        :param limit: bytes in a second, 0 for no limit
        """
        assert self._bitmaps is not None
        most = min(_BATCH, limit // 10) if limit else _BATCH
        batch: list[bytes] = []
        size = 0
        for piece in self._bitmaps.pieces():
            batch.append(piece)
            size += len(piece)
            if size < most:
                continue
            await self._send(form.section(Section.PART, form.BITMAPS, (*batch, _EOS)))
            if limit:
                await self._wait(size * NANOSECONDS // limit)
            else:
                await self._clock.reschedule()
            if self.state == "cancelling":
                raise Failed
            batch, size = [], 0
        if batch:
            await self._send(form.section(Section.PART, form.BITMAPS, (*batch, _EOS)))

    async def _hear_end(self) -> None:
        """Wait until the target says how it went, if it does.

        :raises Failed: it could not load the stream, or has gone
        """
        if not self._answered:
            return
        assert self._channel is not None
        try:
            kind = Answer.PONG
            while kind != Answer.SHUT:
                kind, length = struct.unpack(">HH", await self._channel.read(4))
                value = int.from_bytes(await self._channel.read(length), "big")
        except Disconnected:
            raise Failed(_BROKEN) from None
        if value:
            raise Failed(f"Sibling indicated error {value}")
