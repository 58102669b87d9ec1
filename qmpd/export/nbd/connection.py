"""One client of the NBD server, without its socket: bytes in, bytes out."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from qmpd.errors import QmpError
from qmpd.export.nbd.answering import AnsweringChannel, Areas
from qmpd.export.nbd.at_once import AtOnce
from qmpd.export.nbd.dialect import USUAL, Dialect
from qmpd.export.nbd.layout import LAYOUTS
from qmpd.export.nbd.negotiation import Negotiated, Negotiation
from qmpd.export.nbd.options import Broken
from qmpd.export.nbd.session import NbdSession
from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.secure import SecureChannel
from qmpd.loop.stream import Disconnected
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.export.nbd.export import NbdExport
    from qmpd.loop.clock import Clock
    from qmpd.loop.secure import Cipher
    from qmpd.loop.stream import Peer
    from qmpd.loop.task import Handle, Task

LOG = logging.getLogger("qmpd.nbd")


class NbdConnection(AnsweringChannel):
    """A client, from the greeting to its end; the channel of the protocol.

    One task of the machine's clock reads requests and answers them, one after the other.

    :param peer: the client
    :param exports: returns the exports that clients can choose
    :param left: called when the client is gone and its requests have ended
    :param report: takes complaints about the client, for standard error
    :param areas: where bytes of such requests arrive
    :param workspace: returns a buffer for whoever is at work (`AtOnce`)
    :param cipher: makes the TLS session that the client has to have; None: none
    :param dialect: what it is offered
    """

    def __init__(
        self,
        peer: Peer,
        clock: Clock,
        exports: Callable[[], Iterable[NbdExport]],
        left: Callable[[NbdConnection], None],
        report: Callable[[str], None],
        areas: Areas,
        workspace: Callable[[], memoryview],
        cipher: Callable[[], Cipher] | None = None,
        dialect: Dialect = USUAL,
    ) -> None:
        super().__init__(peer, clock, areas)
        self._exports = exports
        self._left = left
        self._report = report
        self._workspace = workspace
        self._cipher = cipher
        self._dialect = dialect
        self._export: NbdExport | None = None
        self._handshake_limit: Handle | None = None
        self._gone = Waiter()

    def start(self, handshake_seconds: int) -> None:
        """Greet the client.

        :param handshake_seconds: disconnect it if it has not chosen an export by then; 0: never
        """
        if handshake_seconds:
            limit = handshake_seconds * NANOSECONDS
            self._handshake_limit = self._clock.call_later(limit, self.cut)
        self._clock.enter(self._serve(), "nbd client", self._done)

    def attach(self, export: NbdExport) -> None:
        """Count as a client of `export` from now on."""
        self._export = export
        export.clients.append(self)

    # Its life

    async def _serve(self) -> None:
        encrypt = None if self._cipher is None else partial(self._encrypt, self._cipher)
        complaint = "option negotiation failed: "
        try:
            agreed = await Negotiation(self, self._exports, encrypt, self._dialect).run()
            self._forget_limit()
            complaint = "Disconnect client, due to: "
            await NbdSession(agreed, self._at_once(agreed)).run()
        except Broken as broken:
            if not self._is_cut:
                self._report(f"{complaint}{broken}")
        except Disconnected:
            pass
        except MemoryError:
            self._clock.no_memory()
            LOG.error("an NBD client is cut off: there is no memory left")
        except Exception:
            LOG.exception("an NBD client could not be served")

    def _at_once(self, agreed: Negotiated) -> Callable[[], Awaitable[None]] | None:
        """What serves requests that need no waiting; not where the channel is encrypted."""
        if agreed.channel is not self:
            return None
        layout = LAYOUTS[agreed.mode]
        return partial(self.answer, AtOnce(agreed.export, layout, self.output, self._workspace()))

    async def _encrypt(self, cipher: Callable[[], Cipher]) -> SecureClient:
        """Go over to TLS (``nbd_negotiate_handle_starttls``).

        :raises Broken: the client fails to
        """
        try:
            secure = SecureClient(self, cipher())
            await secure.shake_hands()
        except QmpError as error:
            raise Broken(error.desc) from None
        return secure

    def _forget_limit(self) -> None:
        if self._handshake_limit is not None:
            self._handshake_limit.cancel()
            self._handshake_limit = None

    def _done(self, _: Task) -> None:
        self.drop_input()
        self._forget_limit()
        if self._export is not None:
            self._export.clients.remove(self)
        self._peer.close()
        self._left(self)
        self._gone.wake()

    async def close(self) -> None:
        """Disconnect the client, and wait for its request to end."""
        self.cut()
        await self._gone


class SecureClient(SecureChannel):
    """The channel of a client that has gone over to TLS."""

    def __init__(self, connection: NbdConnection, cipher: Cipher) -> None:
        super().__init__(connection, cipher)
        self._connection = connection

    def attach(self, export: NbdExport) -> None:
        """Count as a client of `export` from now on."""
        self._connection.attach(export)
