"""A QMP monitor: the sessions of its peers, one after the other."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from qmpd.monitor.dispatcher import Unanswered, visible
from qmpd.monitor.long_work import in_its_place, read_some
from qmpd.monitor.qmp_output import QmpOutput
from qmpd.monitor.syncing import LOOKS
from qmpd.monitor.transport import Output
from qmpd.wire.json_stream import TOO_LONG
from qmpd.wire.session import BadRequest, Request, Session

if TYPE_CHECKING:
    from qmpd.errors import QmpError
    from qmpd.loop.apart import Apart
    from qmpd.loop.file_threads import ThreadRequest
    from qmpd.monitor.dispatcher import Dispatcher, Work
    from qmpd.monitor.journal import Tap
    from qmpd.monitor.transport import Transport

LOG = logging.getLogger("qmpd.server")

Dispatch = Callable[[Session, Request], "Work"]
"""Makes the coroutine that runs a request of a session."""

QUEUE_LENGTH: Final = 8
"""Requests read ahead once the client has enabled oob, as in QEMU."""

LONG_LIST: Final = 256
"""Elements of a reply's value from which on it is long to encode."""

LONG_TEXT: Final = 1 << 16
"""The same for the characters of a text."""

MANY_WRONG: Final = 4
"""Requests in a row that could not be read, from which on it is likely to be long to read on."""


class QmpMonitor(QmpOutput):
    """A monitor that speaks QMP.

    Until a client has enabled ``oob`` its requests are read one at a time; then up to
    `QUEUE_LENGTH` are read ahead, and out-of-band ones are run as they are read.  While a
    request waits for its turn the transport is asked to pause its input.

    :param dispatcher: runs the commands of all monitors of the machine
    :param new_session: makes the state of a new connection
    :param dispatch: makes the coroutine that runs a request
    :param apart: does what takes long; its requests are then read, and its replies encoded, while
        others have their turn
    :param tap: sees all traffic
    """

    def __init__(
        self,
        label: str,
        transport: Transport | None,
        dispatcher: Dispatcher,
        new_session: Callable[[], Session],
        dispatch: Dispatch,
        apart: Apart,
        tap: Tap | None = None,
    ) -> None:
        super().__init__(label, transport, dispatcher, apart, tap)
        self._new_session = new_session
        self._dispatch = self._own_dispatch = dispatch
        self._read: deque[Request | BadRequest] = deque()
        """Requests that were read apart."""
        self._wrong = 0
        """How many requests in a row could not be read."""
        self._queue: deque[Request | BadRequest] = deque()
        self._asked: tuple[Session, Request] | None = None
        self._paused = False

    @property
    def has_peer(self) -> bool:
        """Whether a client is there, and has not ended its input."""
        return self._session is not None and not self._deaf

    def intercept(self, wrap: Callable[[Dispatch], Dispatch] | None) -> None:
        """Have requests run by what `wrap` makes of the usual way; None for just that way."""
        self._dispatch = self._own_dispatch if wrap is None else wrap(self._own_dispatch)

    def opened(self) -> None:
        """Greet a new client."""
        LOG.info("client connected", extra={"monitor": self.label})
        self._session = self._new_session()
        self._at_work = None
        self._wrong = 0
        self._read.clear()
        self._unread.clear()
        self._unsent.clear()
        self._paused = self._deaf = False
        greeting = self._session.greeting()
        if self.tap is not None:
            self.tap.connected(self.label, greeting)
        self._send(greeting)

    def closed(self) -> None:
        """Drop what was not handled; a client whose output is still open goes on to get events."""
        LOG.info("client disconnected", extra={"monitor": self.label})
        if self.tap is not None and self._session is not None and not self._deaf:
            self.tap.disconnected(self.label)
        self._deaf = True
        self._queue.clear()
        self._dispatcher.forget(self)
        if not self._transport.outlives_input:
            self._session = None
            self._out.clear()

    def feed(self, data: bytes) -> None:
        """Take bytes of requests."""
        if self._session is None:
            return
        if self._at_work is not None:
            self._unread.append(data)
            if not self._paused:
                self._paused = True
                self._transport.pause_input()
            return
        try:
            self._session.feed(data)
        except MemoryError:
            # who has asked is waiting
            self._dispatcher.no_memory()
            self._session.feed(data)
        self._work_off()

    def drained(self) -> None:
        """Go on with the requests that wait."""
        if not self._deaf:
            self._work_off()

    def _work_off(self) -> None:
        """Let waiting requests have their turn; read no further until all have had it."""
        if self._at_work is not None:
            return
        if self._session is not None and self._session.oob_enabled:
            self._read_ahead(self._session)
        self._dispatcher.wake(self)
        if not self._paused and (
            self._transport.congested or self._dispatcher.is_waiting(self) or self._held_up()
        ):
            self._paused = True
            self._transport.pause_input()

    def _held_up(self) -> bool:
        """Whether reading on must wait for a command of this monitor's own."""
        if self._at_work is not None:
            return True
        if self._asked is None or self._session is None:
            return False
        return not self._session.oob_enabled or len(self._queue) >= QUEUE_LENGTH

    def next_work(self) -> Work | None:
        """Return the next request's command; wrong input is answered here."""
        while (session := self._session) is not None and not self._transport.congested:
            if self._at_work is not None:
                return None
            if session.oob_enabled:
                self._read_ahead(session)
                request = self._queue.popleft() if self._queue else None
            else:
                request = self._take(session)
            if request is None:
                if self._paused and self._at_work is None:
                    self._paused = False
                    self._transport.resume_input()
                return None
            if isinstance(request, Request):
                self._wrong = 0
                self._asked = (session, request)
                refused = self._dispatcher.refusal(request.command)
                return refused or self._dispatch(session, request)
            self._refuse(session, request)
        return None

    def next_look(self) -> Work | None:
        """Return the next request's command if it only looks; where there is none, do not wait."""
        session = self._session
        if session is None or self._asked is not None or self._transport.congested:
            return None
        if self._at_work is not None or self._dispatch is not self._own_dispatch:
            return None
        if session.oob_enabled:
            self._read_ahead(session)
            request = self._queue[0] if self._queue else None
        else:
            if not self._read and (found := self._parse(session)) is not None:
                self._read.append(found)
            request = self._read[0] if self._read else None
        if request is None:
            if self._at_work is None:
                self._dispatcher.forget(self)
            return self.next_work()
        looks = isinstance(request, Request) and request.command in LOOKS
        return self.next_work() if looks and not (request.oob or request.large) else None

    def _take(self, session: Session) -> Request | BadRequest | None:
        """The next request; None while there is none that has been read."""
        request = self._read.popleft() if self._read else self._parse(session)
        if self.tap is not None and request is not None:
            self.tap.received(self.label, request)
        return request

    def _parse(self, session: Session) -> Request | BadRequest | None:
        """Read the next request; None where there is none, or it takes long and is read apart."""
        patient = not self._apart.threaded
        slow = not patient and self._wrong >= MANY_WRONG
        try:
            found = TOO_LONG if slow else session.next_request(patient=patient)
        except MemoryError:
            # its bytes are still there
            self._dispatcher.no_memory()
            found = session.next_request(patient=patient)
        if found is TOO_LONG:
            self._begin_apart(session, partial(read_some, session), self._has_read)
            return None
        return found

    def _has_read(self, request: ThreadRequest) -> None:
        try:
            read: list[Request | BadRequest] = request.result()
        except Exception as error:
            read = [BadRequest(visible(error))]
        if not read:
            self._wrong = 0
        elif not self._deaf:
            self._read += read

    def _refuse(self, session: Session, request: BadRequest) -> None:
        self._wrong += 1
        self._tell(session, request, None, partial(session.reply_error, request, request.error))

    def _read_ahead(self, session: Session) -> None:
        """Fill the queue; out-of-band requests do not wait in it."""
        while len(self._queue) < QUEUE_LENGTH and self._at_work is None:
            request = self._take(session)
            if request is None:
                return
            if not request.oob:
                self._queue.append(request)
            elif isinstance(request, Request):
                self._run_out_of_band(session, request)
            else:
                self._refuse(session, request)

    def _run_out_of_band(self, session: Session, request: Request) -> None:
        def completed(value: Any) -> None:
            self._answer(request.command, session.reply(request, value))

        def failed(error: QmpError) -> None:
            self._fail(session, request, error)

        self._dispatcher.run_aside(self._dispatch(session, request), completed, failed)

    def completed(self, value: Any) -> None:
        """Send a success, unless its client has gone."""
        assert self._asked is not None
        (session, request), self._asked = self._asked, None
        if session is self._session:
            if isinstance(value, str) and len(value) >= LONG_TEXT:
                request.large = True
            if self._apart.threaded and (
                request.large or (isinstance(value, list) and len(value) >= LONG_LIST)
            ):
                encode = partial(session.reply, request, value)
                self._tell_apart(session, request, request.command, encode)
                return
            try:
                data = session.reply(request, value)
            except Exception as error:
                data = in_its_place(session, request, error)
            self._answer(request.command, data)

    def failed(self, error: QmpError) -> None:
        """Send an error, unless its client has gone."""
        assert self._asked is not None
        (session, request), self._asked = self._asked, None
        if session is self._session:
            self._fail(session, request, error)

    def _fail(self, session: Session, request: Request, error: QmpError) -> None:
        if not isinstance(error, Unanswered):
            encode = partial(session.reply_error, request, error)
            self._tell(session, request, request.command, encode)
        elif isinstance(self._transport, Output) and self._transport.lost is not None:
            self._transport.lost()
