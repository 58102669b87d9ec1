"""A migration to another machine: what QEMU's migration thread does, as a task.

Memory has size 0, so what is left to send are dirty bitmaps.  QEMU counts their granules as bytes
of memory that has yet to go, and stops the guest for the rest once that can be sent within
``downtime-limit``.  QEMU measures how fast it sends; qmpd takes ``max-bandwidth`` for it.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Final

from qmpd.base.override import override
from qmpd.base.run_state import RunState
from qmpd.errors import BlockIOError, GenericError, QmpError
from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.task import Waiter
from qmpd.machine.migration import stream as form
from qmpd.machine.migration.bitmap_format import EOS
from qmpd.machine.migration.bitmaps_out import BitmapsOut
from qmpd.machine.migration.global_state import global_state
from qmpd.machine.migration.link import BROKEN, Failed
from qmpd.machine.migration.outgoing_state import OutgoingState
from qmpd.machine.migration.status import milliseconds
from qmpd.machine.migration.stream import Command, Section

_ROUND: Final = NANOSECONDS // 10
"""Nanoseconds between two looks at what is left to send (``BUFFER_DELAY``)."""

_BATCH: Final = 1 << 16
"""Bytes of bitmaps written at a time."""

_EOS: Final = bytes([EOS])


class Outgoing(OutgoingState):
    """The work of a migration to another machine."""

    @override
    async def _run(self) -> None:
        assert self._link is not None
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
            self.progress.transferred = self._link.transferred
            self.progress.end(self._clock.now())
            self.set_state("completed")
        await self._finish()
        await self._release()
        self._link.channel.cut()
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
            self._complain(error.report.rstrip("\n"))
        if self._before is RunState.RUNNING:
            if guest.run_state is not RunState.SHUTDOWN:
                guest.start()
        elif self._before is not None and guest.run_state is RunState.FINISH_MIGRATE:
            guest.run_state = self._before

    async def _release(self) -> None:
        if self._bitmaps is not None:
            await self._bitmaps.release()

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
        if self._capabilities["events"]:
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
            raise Failed(BROKEN)
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
            raise Failed(BROKEN)

    async def _complete(self) -> None:
        """Send all that is left while the guest stands still."""
        state = await self._switch_over()
        self._pass()
        if self._bitmaps is not None and self._bitmaps.any:
            await self._send_pieces(0)
            end = (self._bitmaps.complete(), _EOS)
            await self._send(form.section(Section.END, form.BITMAPS, end))
        await self._send(state + bytes([Section.EOF]))
        await self._end()

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
            await self._end()
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

    async def _send(self, data: bytes) -> None:
        assert self._link is not None
        await self._link.send(data)

    async def _end(self) -> None:
        """Wait until the target says how it went, if it does."""
        if self._answered:
            assert self._link is not None
            await self._link.hear_end()
