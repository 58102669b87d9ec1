"""The control monitors of one bench."""

from __future__ import annotations

from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from qmpd.errors import CommandNotFound, GenericError, MachineClosed
from qmpd.monitor.dispatcher import Dispatcher
from qmpd.monitor.qmp.dispatch import read_arguments
from qmpd.monitor.qmp_monitor import QmpMonitor
from qmpd.profile.shipped import load_control
from qmpd.sim.control.context import Context
from qmpd.sim.control.served import SERVED
from qmpd.wire.session import Session

if TYPE_CHECKING:
    from qmpd.monitor.transport import Transport
    from qmpd.sim.bench import Bench
    from qmpd.sim.guests.workload import Workload
    from qmpd.sim.state.checkpoint import Checkpoint
    from qmpd.wire.session import Request


class Control:
    """Control monitors of `bench`, with a dispatcher of their own.

    A command that waits, or a clock that is held, stops the machine's monitors; these go on.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._workloads: dict[str, Workload] = {}
        self._checkpoints: dict[str, Checkpoint] = {}
        self._dispatcher = Dispatcher(lambda callback: bench.clock.call_soon(callback))

    def add_qmp(
        self, label: str, transport: Transport | None = None, *, pretty: bool = False
    ) -> QmpMonitor:
        """Make a control monitor; it greets its peer once it is `opened`.

        :param label: its name in log messages
        :param transport: where output goes; kept for `QmpMonitor.output` if absent
        :param pretty: indented replies
        """
        profile = self._bench.machine.profile
        return QmpMonitor(
            label,
            transport,
            self._dispatcher,
            partial(
                Session,
                qemu_version=profile.version,
                package=profile.package,
                oob=False,
                pretty=pretty,
            ),
            self._dispatch,
            self._bench.machine.host.apart,
        )

    async def _dispatch(self, session: Session, request: Request) -> Any:
        """Run `request` and return the value of its reply, ``{}`` where it returns nothing.

        :raises QmpError: whatever the client is to be told
        """
        name = request.command
        session.check_command(name)
        profile = load_control()
        handler = SERVED.get(name)
        info = profile.entry_points.commands.get(name)
        if info is None or handler is None:
            text = self._bench.machine.profile.texts.command_not_found
            raise CommandNotFound(text.format(name=name))
        arguments = read_arguments(profile, info, request.arguments)
        context = Context(self._bench, session, self._workloads, self._checkpoints)
        try:
            value = handler(context, arguments)
            if isinstance(value, CoroutineType):
                value = await value
        except (LookupError, ValueError, TimeoutError, MachineClosed) as error:
            # how the bench tells Python of what there is not, and why not
            raise GenericError(str(error.args[0]) if error.args else str(error)) from None
        return {} if value is None else value

    def close(self) -> None:
        """Give up; a command that waits is ended where it stands."""
        self._dispatcher.close()
