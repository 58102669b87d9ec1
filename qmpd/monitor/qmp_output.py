"""What a QMP monitor sends, and what is done apart because it takes long."""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final

from qmpd.monitor.long_work import encoded
from qmpd.monitor.monitor import Monitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.loop.apart import Apart, Ended
    from qmpd.loop.events import EventRecord
    from qmpd.loop.file_threads import ThreadRequest
    from qmpd.monitor.dispatcher import Dispatcher
    from qmpd.monitor.journal import Tap
    from qmpd.monitor.transport import Transport
    from qmpd.wire.session import BadRequest, Request, Session

LOG = logging.getLogger("qmpd.server")

BACKLOG_LIMIT: Final = 64 << 20
"""Bytes of unread output at which a client is dropped. (QEMU keeps them all, for ever.)"""


class QmpOutput(Monitor):
    """Answers and events, in their order.

    :param dispatcher: says when answers are collected
    :param apart: does what takes long: nothing is read or sent meanwhile
    """

    def __init__(
        self,
        label: str,
        transport: Transport | None,
        dispatcher: Dispatcher,
        apart: Apart,
        tap: Tap | None,
    ) -> None:
        super().__init__(label, transport, tap)
        self._dispatcher = dispatcher
        self._apart = apart
        self._session: Session | None = None
        self._deaf = False
        """Whether the client has ended its input."""
        self._at_work: Session | None = None
        """The session that something is being done for apart."""
        self._unread: list[bytes] = []
        """What has come meanwhile."""
        self._unsent: list[bytes] = []
        """What is to be sent after that."""
        self._out: list[bytes] = []
        """Answers that are collected."""

    @abstractmethod
    def _work_off(self) -> None:
        """Let waiting requests have their turn."""

    def _begin_apart(self, session: Session, work: Callable[[], Any], ended: Ended) -> None:
        """Have something done that takes long; nothing is read or sent meanwhile."""
        self._at_work = session

        def end(request: ThreadRequest) -> None:
            if self._at_work is not session:
                return
            self._at_work = None
            ended(request)
            unsent, self._unsent = self._unsent, []
            for data in unsent:
                self._send(data)
            unread, self._unread = self._unread, []
            for data in unread:
                session.feed(data)
            if self._session is session and not self._deaf:
                self._work_off()

        self._apart.start(work, end)

    def _tell(
        self,
        session: Session,
        request: Request | BadRequest,
        command: str | None,
        encode: Callable[[], bytes],
    ) -> None:
        """Answer a request; one that was long to read may be long to answer, too."""
        if request.large and self._apart.threaded:
            self._tell_apart(session, request, command, encode)
        else:
            self._answer(command, encoded(session, request, encode))

    def _tell_apart(
        self,
        session: Session,
        request: Request | BadRequest,
        command: str | None,
        encode: Callable[[], bytes],
    ) -> None:
        """Answer a request while others have their turn."""

        def ended(done: ThreadRequest) -> None:
            failed = done.error is not None
            # what is told may have changed meanwhile
            data = encoded(session, request, encode) if failed else done.result()
            self._answer(command, data)

        self._begin_apart(session, encode, ended)

    def deliver(self, event: EventRecord) -> None:
        """Send an event, if the client has negotiated."""
        if self._session is None:
            return
        data = self._session.event(event.name, event.data, event.seconds, event.microseconds)
        if data is None:
            return
        if self.tap is not None:
            self.tap.told(self.label, data)
        self._send(data)
        if self._transport.backlog > BACKLOG_LIMIT:
            LOG.warning(
                "client does not read: dropped with %d bytes unread",
                self._transport.backlog,
                extra={"monitor": self.label},
            )
            self._transport.disconnect()

    def _answer(self, command: str | None, data: bytes) -> None:
        if self.tap is not None:
            self.tap.answered(self.label, command, data)
        self._send(data)

    def _send(self, data: bytes) -> None:
        if self._at_work is not None:
            self._unsent.append(data)
            return
        if not self._dispatcher.collecting:
            self.flush()
            self._transport.write(data)
            return
        if not self._out:
            self._dispatcher.flush_later(self)
        self._out.append(data)

    def flush(self) -> None:
        """Send the answers that were collected in one piece."""
        if self._out:
            out, self._out = self._out, []
            self._transport.write(b"".join(out) if len(out) > 1 else out[0])
