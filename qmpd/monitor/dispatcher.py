"""One command at a time, for the whole machine, fairly taken from all monitors.

Commands are coroutines that mostly end without waiting for anything; those are
run to their end where they are, with no task and no trip through the event
loop.  One that waits (a drained job, a slow image) holds up all commands
behind it, on every monitor, as QEMU's dispatcher does; what it waits for, the
jobs and the other connections go on meanwhile.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from qmpd.base.memory import there_is
from qmpd.errors import GenericError, QmpError
from qmpd.loop.apart import Meanwhile, Midway
from qmpd.monitor.reserve import no_memory

if TYPE_CHECKING:
    from qmpd.loop.task import Waiter
    from qmpd.monitor.reserve import Reserve

T = TypeVar("T")

LOG = logging.getLogger("qmpd.server")

_EXHAUSTED: Final = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT)
)
"""What anything may fail with, as soon as there is none left on the host."""

_OF_MODULE: Final = 16 << 20
"""Bytes that are enough to import any module."""

BATCH: Final = 256
"""Commands run before the event loop gets a chance to see other connections."""

Work = Coroutine[Any, None, Any]
"""A command on its way; what it yields is a `qmpd.loop.task.Waiter`."""


class Unanswered(QmpError):
    """The command has run, but nobody is to be told: its answer gets lost on the way."""

    def __init__(self) -> None:
        super().__init__("the answer is lost")


class Source(Protocol):
    """A monitor, as the dispatcher sees it."""

    def next_work(self) -> Work | None:
        """The next command to run; None: none now, `Dispatcher.wake` comes again."""

    def next_look(self) -> Work | None:
        """The same, if it may run in the middle of another command (`qmpd.monitor.syncing`)."""

    def completed(self, value: Any) -> None:
        """The command returned `value`."""

    def failed(self, error: QmpError) -> None:
        """The command failed."""

    def flush(self) -> None:
        """Send the output that was collected while commands ran."""


class Dispatcher:
    """Runs the commands of any number of sources, one at a time.

    Where nothing else is due, requests are run and answered at once.  Otherwise they pass through
    the rounds of the main loop that they have in QEMU: two before they are run, for the monitor
    and for the dispatcher's coroutine are woken one after the other, and one before the answer.

    :param call_soon: runs a callback when the event loop is next free
    :param is_idle: whether nothing else is due now
    :param call_in_monitor: runs a callback in the loop's next round, after all that is due before
    :param request_waits: whether a request that has come is seen a round later
    :param run_early: runs a callback in the next round before all else, if it happens to be so, and
        returns whether it does
    :param stands_still: whether no command may be run for now, because what the loop does waits
        for a disk
    :param answers_at_once: whether there is no round before the answer
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        is_idle: Callable[[], bool] = lambda: True,
        call_in_monitor: Callable[[Callable[[], None]], object] | None = None,
        request_waits: Callable[[], bool] = lambda: False,
        run_early: Callable[[Callable[[], None]], bool] = lambda _: False,
        stands_still: Callable[[], bool] = lambda: False,
        *,
        answers_at_once: bool = False,
    ) -> None:
        self.call_soon = call_soon
        self._request_waits = request_waits
        self._run_early = run_early
        self._stands_still = stands_still
        self._always_at_once = self._answers_at_once = answers_at_once
        self._is_idle = is_idle
        self._call_in_monitor = call_soon if call_in_monitor is None else call_in_monitor
        self._ready: deque[Source] = deque()
        self._unsent: list[Source] = []
        self._aside: dict[Source, Work] = {}
        """Commands that have yet to begin: something is done for them in a thread."""
        self._come_back: deque[Source] = deque()
        """Those of `_aside` for which it is done."""
        self._current: tuple[Source, Work | None] | None = None
        """The command that waits; without its work it waits to be answered."""
        self._midway = False
        """Whether commands that only look may have their turn while it waits."""
        self._scheduled = False
        self.begun = 0
        """How many commands have been begun."""
        self.collecting = False
        """Whether commands are being run now, so that output is collected, not sent."""
        self.stopped = False
        self.on_stopped: Callable[[], None] | None = None
        self.reserve: Reserve | None = None
        """Memory of the process for when there is no other."""

    def refusal(self, command: str) -> Work | None:
        """What takes the place of a command for which there is no memory; None: it is run."""
        return None if self.reserve is None else self.reserve.refuse(command)

    @property
    def busy(self) -> bool:
        """Whether a command is waiting for something."""
        return self._current is not None

    @property
    def idle(self) -> bool:
        """Whether no command is running or has yet to have its turn."""
        return self._current is None and not self._scheduled and not self._aside

    def is_waiting(self, source: Source) -> bool:
        """Whether `source` has commands that have not had their turn."""
        return source in self._ready

    def wake(self, source: Source) -> None:
        """Tell that `source` may have a command to run; runs it now if nothing else is at work."""
        if source not in self._ready and source not in self._aside:
            self._ready.append(source)
        self._take_turns()

    def _take_turns(self) -> None:
        if self.collecting:
            return
        if self._scheduled or self._current is not None:
            if self._midway or self._stands_still():
                self._let_look()
        elif self._is_idle():
            self._run()
        else:
            self._scheduled = True
            self._in_monitor(self._run_next_round)
            if self._stands_still():
                self._let_look()

    def forget(self, source: Source) -> None:
        """Take back `wake`: the peer of `source` has gone."""
        if source in self._ready:
            self._ready.remove(source)

    def flush_later(self, source: Source) -> None:
        """Have `source` flush when the commands at hand have run (`collecting` only)."""
        self._unsent.append(source)

    def stop(self) -> None:
        """Begin no further command; `on_stopped` is called when none is running."""
        self.stopped = True
        self._ready.clear()
        if self._current is None and not self.collecting and self.on_stopped is not None:
            self.on_stopped()

    def run_aside(
        self, work: Work, completed: Callable[[Any], None], failed: Callable[[QmpError], None]
    ) -> None:
        """Run a command now, whatever else is running: an out-of-band one, or one that looks.

        :raises AssertionError: when it waits, which none of these may
        """
        try:
            work.send(None)
        except StopIteration as end:
            completed(end.value)
        except Exception as error:
            failed(self._visible(error))
        else:
            work.close()
            raise AssertionError("a command that runs beside another must not wait")

    def _visible(self, error: Exception) -> QmpError:
        """What the client is told; where memory was missing, there is some again to do so."""
        if _is_for_want_of_memory(error):
            self.no_memory()
        return visible(error)

    def no_memory(self) -> None:
        """An allocation has failed: let the reserve go."""
        if self.reserve is not None:
            self.reserve.spend()

    def _in_monitor(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the loop's next round: without that no command would be run again."""
        try:
            self._call_in_monitor(callback)
        except MemoryError:
            self.no_memory()
            self._call_in_monitor(callback)

    def _run_next_round(self) -> None:
        if self._request_waits():
            self._in_monitor(self._run_next_round)
        elif not self._run_early(self._run_at_once):
            self._in_monitor(self._run_scheduled)

    def _run_at_once(self) -> None:
        self._answers_at_once = True
        try:
            self._run_scheduled()
        finally:
            self._answers_at_once = self._always_at_once

    def _run_scheduled(self) -> None:
        self._scheduled = False
        if self._current is None and not self.collecting:
            self._run()

    def _run(self) -> None:
        ready = self._ready
        left = BATCH
        self.collecting = True
        try:
            while (ready or self._come_back) and self._current is None and not self.stopped:
                if left == 0 or not (left == BATCH or self._is_idle()):
                    self._scheduled = True
                    self._in_monitor(self._run_scheduled)
                    break
                if self._come_back:
                    source = self._come_back.popleft()
                    work: Work | None = self._aside.pop(source)
                else:
                    source = ready.popleft()
                    work = source.next_work()
                if work is not None:
                    left -= 1
                    self.begun += 1
                    ready.append(source)
                    self._advance(source, work)
        finally:
            self._end_of_batch()

    def _end_of_batch(self) -> None:
        if self._current is not None and self._current[1] is None:
            # What is out before the answer is sent with it.
            return
        self._send()
        if self._midway:
            self._let_look()

    def _let_look(self) -> None:
        """Run those commands that only look; all others wait for the present one."""
        for source in list(self._ready):
            while not self.stopped and (work := source.next_look()) is not None:
                self.begun += 1
                self.run_aside(work, source.completed, source.failed)

    def _send(self) -> None:
        self.collecting = False
        while self._unsent:
            unsent, self._unsent = self._unsent, []
            for source in unsent:
                source.flush()
        if self.stopped and self._current is None and self.on_stopped is not None:
            self.on_stopped()

    def _advance(self, source: Source, work: Work) -> None:
        try:
            waiter: Waiter = work.send(None)
        except StopIteration as end:
            self._answer(source, source.completed, end.value)
        except Exception as error:
            self._answer(source, source.failed, self._visible(error))
        else:
            if isinstance(waiter, Meanwhile):
                self._step_aside(source, work, waiter)
                return
            self._current = (source, work)
            self._midway = isinstance(waiter, Midway)
            waiter.when_done(self._resume_soon)

    def _step_aside(self, source: Source, work: Work, waiter: Waiter) -> None:
        """Let others have their turn: the command goes on when `waiter` is done."""
        if source in self._ready:
            self._ready.remove(source)
        self._aside[source] = work

        def come_back() -> None:
            if not self.stopped:
                self._come_back.append(source)
                self._take_turns()

        waiter.when_done(come_back)

    def _answer(self, source: Source, tell: Callable[[T], None], outcome: T) -> None:
        if self._answers_at_once or self._is_idle():
            tell(outcome)
            return
        self._current = (source, None)
        self._in_monitor(partial(self._go_on, partial(tell, outcome)))
        self.call_soon(self._send_early)

    def _send_early(self) -> None:
        """Send what is out if the answer did not come in the round that it was meant to."""
        if self._current is not None and self._current[1] is None:
            self._send()

    def _resume_soon(self) -> None:
        self.call_soon(self._resume)

    def _resume(self) -> None:
        if self._current is None:
            return
        source, work = self._current
        assert work is not None
        self._go_on(partial(self._advance, source, work))

    def _go_on(self, what: Callable[[], None]) -> None:
        """Do what the present command has waited for, then take the next ones."""
        if self._current is None:
            return
        self._current = None
        self._midway = False
        self.collecting = True
        what()
        if self._current is None and (self._ready or self._come_back) and not self.stopped:
            self._run()
        else:
            self._end_of_batch()

    def close(self) -> None:
        """Drop everything; a command that waits is ended where it stands."""
        self.stopped = True
        self._ready.clear()
        if self._current is not None:
            _, work = self._current
            if work is not None:
                work.close()
            self._current = None
            self._midway = self.collecting = False
        for work in self._aside.values():
            work.close()
        self._aside.clear()
        self._come_back.clear()


def _is_for_want_of_memory(error: Exception) -> bool:
    """Whether an error is due to that: modules in C that find none cannot be imported."""
    if isinstance(error, ImportError):
        return not there_is(_OF_MODULE)
    return isinstance(error, MemoryError)


def visible(error: Exception) -> QmpError:
    """What the client is told: its error, or that qmpd has a defect."""
    if isinstance(error, QmpError):
        return error
    if _is_for_want_of_memory(error):
        LOG.error("there is no memory for a command")
        return no_memory()
    if isinstance(error, OSError) and error.errno in _EXHAUSTED:
        LOG.error("a command failed: %s", error.strerror)
        return GenericError(os.strerror(error.errno))
    LOG.error("a command failed in a way it must not", exc_info=error)
    return GenericError(f"qmpd internal error: {type(error).__name__}: {error}")
