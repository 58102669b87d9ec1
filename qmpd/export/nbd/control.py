"""Starting and stopping the NBD server of a machine (blockdev-nbd.c)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from qmpd.errors import GenericError, QmpError
from qmpd.export.nbd.dialect import USUAL, Dialect
from qmpd.export.nbd.export import NbdExport

if TYPE_CHECKING:
    from qmpd.export.exports import BlockExports
    from qmpd.export.host import ExportHost
    from qmpd.export.nbd.server import NbdServer
    from qmpd.loop.clock import Clock
    from qmpd.loop.secure import Credentials
    from qmpd.loop.stream import Connect, Connection, Peer


class NbdControl:
    """The one NBD server that a machine may have.

    :param clock: what its connections run on
    :param exports: all exports of the machine
    :param host: the process, which listens
    :param credentials: finds TLS credentials, see `Services`
    :param report: takes complaints about clients, for standard error
    """

    def __init__(
        self,
        clock: Clock,
        exports: BlockExports,
        host: ExportHost,
        credentials: Callable[[str, str], Credentials],
        report: Callable[[str], None],
        dialect: Dialect = USUAL,
    ) -> None:
        self._dialect = dialect
        self._report = report
        self._clock = clock
        self._exports = exports
        self._host = host
        self._credentials = credentials
        self._server: NbdServer | None = None
        self.through: Callable[[Peer, Connect], Connection] | None = None
        """Connects a client to the server by way of something of its own, where there is any."""

    @property
    def server(self) -> NbdServer:
        """The running server.

        :raises GenericError: it is not running
        """
        if self._server is None:
            raise GenericError("NBD server not running")
        return self._server

    @property
    def running(self) -> bool:
        """Whether there is one."""
        return self._server is not None

    def start(self, options: Mapping[str, Any]) -> None:
        """Start the server.

        :param options: NbdServerOptions, plain JSON values
        :raises QmpError: QEMU's texts
        """
        if self._server is not None:
            raise GenericError("NBD server already running")
        # loaded once it is wanted: a daemon greets before
        from qmpd.export.nbd.server import NbdServer

        server = NbdServer(
            self._clock,
            partial(nbd_exports, self._exports),
            max_connections=options.get("max-connections", self._dialect.max_connections),
            handshake_seconds=options.get("handshake-max-seconds", self._dialect.handshake_seconds),
            report=self._report,
            dialect=self._dialect,
        )
        server.listener = self._host.listen(options["addr"], partial(self._connect, server))
        if "tls-creds" in options:
            try:
                server.credentials = self._credentials(options["tls-creds"], "server")
            except QmpError:
                server.listener.close()
                raise
            server.authorization = options.get("tls-authz")
        self._server = server

    def _connect(self, server: NbdServer, peer: Peer) -> Connection:
        if self.through is None:
            return server.connect(peer)
        return self.through(peer, server.connect)

    async def stop(self) -> None:
        """Delete all NBD exports, and stop the server.

        :raises GenericError: it is not running
        """
        server = self.server
        await self._exports.close_all(NbdExport.export_type)
        await server.close()
        self._server = None

    async def close(self) -> None:
        """Stop the server if it runs, because the machine ends."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.close(machine_ends=True)


def nbd_exports(exports: BlockExports) -> list[NbdExport]:
    """The exports of the NBD server, the oldest first."""
    return [
        export
        for export in exports.exports.oldest_first()
        if isinstance(export, NbdExport) and not export.shutting_down
    ]
