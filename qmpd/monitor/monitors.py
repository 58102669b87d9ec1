"""All monitors of one machine, and what they share.

QEMU has one dispatcher for all its monitors (``qmp_dispatcher_co``), one set of limits for
events (``monitor_qapi_event_throttle_update``) and one list of monitors that events go to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qmpd.monitor.dispatcher import Dispatcher, Work
from qmpd.monitor.event_throttle import EventThrottle
from qmpd.monitor.qmp.dispatch import dispatch, dispatch_large
from qmpd.monitor.qmp.served import SERVED
from qmpd.monitor.qmp_monitor import Dispatch, QmpMonitor
from qmpd.wire.session import Request, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qmpd.loop.events import EventRecord
    from qmpd.machine.machine import Machine
    from qmpd.monitor.hmp_monitor import HmpMonitor
    from qmpd.monitor.journal import Record, Tap
    from qmpd.monitor.monitor import Monitor
    from qmpd.monitor.qmp.handlers import Handlers
    from qmpd.monitor.transport import Transport

Wrap = Callable[[Dispatch], Dispatch]
"""Makes another way to run requests of the usual one."""


class Monitors:
    """The monitors of `machine`; commands of all of them run one at a time, on its clock.

    This is the one way in: sockets, standard input and programs in the same process all
    ask the machine through a monitor made here.  A program does it so::

        qmp = Monitors(machine).add_qmp("program")
        qmp.opened()
        qmp.feed(b'{"execute": "qmp_capabilities"}')
        qmp.output()        # greeting and answer, each a line

    A command that waits goes on when the machine's clock is run.

    :param record: takes what passes all of them, see `qmpd.monitor.journal`
    :param handlers: what serves the commands that the machine's profile has
    """

    def __init__(
        self, machine: Machine, record: Record | None = None, handlers: Handlers = SERVED
    ) -> None:
        self.machine = machine
        clock = machine.clock
        self.dispatcher = Dispatcher(
            clock.call_soon,
            lambda: clock.idle and not clock.nested,
            clock.call_in_monitor,
            lambda: clock.order.request_waits(),
            self._run_among_bottom_halves,
            lambda: clock.nested and clock.completions.waits_for_disk > 0,
            answers_at_once=machine.profile.rules.holds("answers-come-first"),
        )
        self._tap: Tap | None = None
        if record is not None:
            from qmpd.monitor.journal import Journal

            self._tap = Journal(record, machine.services.clocks.host)
        self._wrap: Wrap | None = None
        self.on_added: Callable[[QmpMonitor], None] | None = None
        """Called with each QMP monitor that is made, where somebody wants to know."""
        self._handlers = handlers
        self._monitors: list[Monitor] = []
        self._unsubscribe = machine.events.subscribe(
            EventThrottle(machine.services.clocks.accounting, self._deliver)
        )

    def add_qmp(
        self,
        label: str,
        transport: Transport | None = None,
        *,
        pretty: bool = False,
        oob: bool = True,
    ) -> QmpMonitor:
        """Make a QMP monitor; it greets its peer once it is `opened`.

        :param label: its name in the journal
        :param transport: where output goes; kept for `Monitor.output` if absent
        :param pretty: indented replies
        :param oob: offer out-of-band execution (a multiplexed character device cannot)
        """
        profile = self.machine.profile

        apart = self.machine.host.apart

        def run(session: Session, request: Request) -> Work:
            run_it = (
                dispatch_large if request.large and apart.threaded and not request.oob else dispatch
            )
            return run_it(self.machine, self._handlers, monitor.descriptors, session, request)

        monitor = QmpMonitor(
            label,
            transport,
            self.dispatcher,
            partial(
                Session,
                qemu_version=profile.version,
                package=profile.package,
                oob=oob,
                pretty=pretty,
                places=profile.rules.holds("json-errors-have-places"),
            ),
            run,
            apart,
            self._tap,
        )
        if self._wrap is not None:
            monitor.intercept(self._wrap)
        self._monitors.append(monitor)
        if self.on_added is not None:
            self.on_added(monitor)
        return monitor

    def add_hmp(self, label: str, transport: Transport | None = None) -> HmpMonitor:
        """Make a human monitor; it shows banner and prompt once it is `opened`.

        :param label: its name in the journal
        :param transport: where output goes; kept for `Monitor.output` if absent
        """
        from qmpd.monitor.hmp_monitor import HmpMonitor

        profile = self.machine.profile

        def run(line: str) -> Work:
            from qmpd.monitor.human import run_line

            return run_line(self.machine, self._handlers, line, monitor.descriptors)

        monitor = HmpMonitor(
            label,
            transport,
            self.dispatcher,
            profile.texts.banner.format(version=profile.version),
            run,
            lambda: self.machine.shutdown_reason is not None,
            self._tap,
            None if transport is None else self.machine.clock.schedule_bh,
        )
        self._monitors.append(monitor)
        return monitor

    def intercept(self, wrap: Wrap | None) -> None:
        """Have requests of QMP run by what `wrap` makes of the usual way, on monitors to come too.

        :param wrap: None for just the usual way
        """
        self._wrap = wrap
        for monitor in self.qmp:
            monitor.intercept(wrap)

    @property
    def qmp(self) -> list[QmpMonitor]:
        """The QMP monitors, the oldest first."""
        return [monitor for monitor in self._monitors if isinstance(monitor, QmpMonitor)]

    @property
    def tap(self) -> Tap | None:
        """What sees all that passes the monitors."""
        return self._tap

    def add_tap(self, tap: Tap) -> None:
        """Let `tap` see what passes all monitors from now on."""
        if self._tap is not None:
            from qmpd.monitor.journal import Taps

            tap = Taps(self._tap, tap)
        self._tap = tap
        for monitor in self._monitors:
            monitor.tap = tap

    def __iter__(self) -> Iterator[Monitor]:
        return iter(tuple(self._monitors))

    def _run_among_bottom_halves(self, callback: Callable[[], None]) -> bool:
        """Run `callback` before the bottom halves that are scheduled, if it happens to be so."""
        clock = self.machine.clock
        if clock.nested or not clock.order.request_among_bottom_halves():
            return False

        def run() -> None:
            if clock.nested:
                clock.call_in_monitor(callback)
            else:
                callback()

        clock.schedule_bh(run)
        return True

    def remove(self, monitor: Monitor) -> None:
        """Take a monitor away for good."""
        monitor.closed()
        monitor.descriptors.close_all()
        self._monitors.remove(monitor)

    def _deliver(self, event: EventRecord) -> None:
        for monitor in tuple(self._monitors):
            monitor.deliver(event)

    def flush(self) -> None:
        """Send the output that was collected while commands ran."""
        for monitor in self._monitors:
            monitor.flush()

    def stop(self, then: Callable[[], None]) -> None:
        """Begin no further command; calls `then` once the present one has been answered."""
        self.dispatcher.on_stopped = then
        self.dispatcher.stop()

    def close(self) -> None:
        """Give up: a command that waits is ended where it stands; events go nowhere."""
        self.dispatcher.close()
        self._unsubscribe()
        for monitor in self._monitors:
            monitor.descriptors.close_all()
