"""How a program waits for events, as methods of `qmpd.Machine`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.api.waits import WAIT
from qmpd.sim.match import Event, Match, event_match

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qmpd.api.core import Core
    from qmpd.api.drivers import Driver


class TakesEvents:
    """A machine whose events are taken one by one."""

    _core: Core
    _driver: Driver

    def event_wait(
        self, name: str, timeout: float | None = WAIT, match: Match = None
    ) -> Event | None:
        """Take the first event of a name, waiting for it if it has not come yet.

        >>> import qmpd
        >>> with qmpd.Machine() as vm:
        ...     _ = vm.cmd("stop")
        ...     vm.event_wait("STOP")["event"]
        'STOP'

        :param timeout: seconds of the machine's clock; 0 not to wait, None for no limit (a day of
            a virtual clock).  While the machine is behind a socket (`serve`) they are the wall's
        :param match: what the event must have: see `event_match`
        :returns: the event as it comes over QMP; None if `timeout` is 0 and there is none
        :raises TimeoutError: it does not come in time
        :raises qmpd.errors.WaitsForever: it cannot come: nothing is left to be done, or the
            clock is held
        """
        return self.events_wait([(name, match)], timeout)

    def events_wait(
        self, events: Sequence[tuple[str, Match]], timeout: float | None = WAIT
    ) -> Event | None:
        """Take the first of several events: see `event_wait`.

        :param events: names, each with what the event must have (None for anything)
        """
        names = " or ".join(name for name, _ in events)
        return self._driver.run(self._core.events_wait(events, timeout), f"event {names}")

    def get_qmp_event(self, wait: bool | float = False) -> Event | None:
        """Take the oldest event, None if there is none.

        :param wait: False not to wait; True to wait without a limit; seconds
        :raises TimeoutError: no event comes within so many seconds
        """
        kept = self._driver.call(lambda: self._core.events.take(lambda _: True))
        if kept is not None or wait is False:
            return kept
        return self._driver.run(self._core.any_event(None if wait is True else wait), "an event")

    def get_qmp_events(self, wait: bool | float = False) -> list[Event]:
        """Take all events that have come, in their order.

        :param wait: wait for one if there is none: see `get_qmp_event`
        """
        events = self._driver.call(self._core.events.take_all)
        if not events and wait is not False:
            first = self.get_qmp_event(wait)
            events = [first] if first is not None else []
            events += self._driver.call(self._core.events.take_all)
        return events

    event_match = staticmethod(event_match)
