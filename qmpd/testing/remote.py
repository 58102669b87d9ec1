"""Any QMP server with the face of `qmpd.Machine`: one test for all of them.

What can be asked over QMP can be asked here, by the same names.  A test that uses nothing else
runs on a machine in its own process, on a daemon and on the real QEMU.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from qmpd.api.arguments import command_arguments
from qmpd.api.asks import Answer
from qmpd.api.events import EventQueue, any_of
from qmpd.api.job import Job
from qmpd.api.jobs import JobRecords
from qmpd.api.waits import WAIT
from qmpd.errors import MachineClosed, from_answer
from qmpd.sim.match import Event, Match, event_match

ANSWER_SECONDS: Final = 60.0
"""How long an answer may take."""


class RemoteMachine:
    """A machine behind a socket: qmpd's, or a real QEMU.

    >>> from qmpd.testing import RemoteMachine, Server
    >>> with Server("--disk", "disk0=64M") as server, RemoteMachine(server.path) as vm:
    ...     vm.cmd("query-status")
    {'status': 'running', 'running': True}

    The methods are those of `qmpd.Machine`; their timeouts are in the wall's seconds.

    :param address: path of a unix socket, or host and port
    :raises OSError: nobody listens there
    """

    def __init__(self, address: str | tuple[str, int]) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._socket = socket.socket(family)
        try:
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise
        self._received = b""
        self._answers: list[Answer] = []
        self._events = EventQueue()
        self._records = JobRecords()
        self.greeting: Answer = {}
        """What the server said first."""
        self._read_until(lambda: bool(self.greeting), ANSWER_SECONDS, "the greeting")
        self.cmd("qmp_capabilities")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect; the machine goes on."""
        self._socket.close()

    # Commands

    def qmp(self, cmd: str, args_dict: Mapping[str, Any] | None = None, **args: Any) -> Answer:
        """Run a QMP command and return its answer: see `qmpd.Machine.qmp`."""
        request: dict[str, Any] = {"execute": cmd}
        if arguments := command_arguments(args_dict, args):
            request["arguments"] = arguments
        self._socket.sendall(json.dumps(request).encode())
        self._read_until(lambda: bool(self._answers), ANSWER_SECONDS, f"command {cmd}")
        return self._answers.pop(0)

    def cmd(self, cmd: str, args_dict: Mapping[str, Any] | None = None, **args: Any) -> Any:
        """Run a QMP command and return its value: see `qmpd.Machine.cmd`."""
        answer = self.qmp(cmd, args_dict, **args)
        if "error" in answer:
            raise from_answer(answer["error"])
        return answer["return"]

    def send_fd_scm(self, fd: int) -> None:
        """Hand over a file descriptor: see `qmpd.Machine.send_fd_scm`.

        :raises OSError: it is not open, or the socket is not a unix socket
        """
        socket.send_fds(self._socket, [b" "], [fd])

    def hmp(self, command_line: str) -> str:
        """Run a line of the human monitor: see `qmpd.Machine.hmp`."""
        text: str = self.cmd("human-monitor-command", {"command-line": command_line})
        return text

    # Events

    def event_wait(
        self, name: str, timeout: float | None = WAIT, match: Match = None
    ) -> Event | None:
        """Take the first event of a name, waiting for it: see `qmpd.Machine.event_wait`."""
        return self.events_wait([(name, match)], timeout)

    def events_wait(
        self, events: Sequence[tuple[str, Match]], timeout: float | None = WAIT
    ) -> Event | None:
        """Take the first of several events: see `qmpd.Machine.events_wait`."""
        return self._take(any_of(events), timeout, " or ".join(name for name, _ in events))

    def get_qmp_event(self, wait: bool | float = False) -> Event | None:
        """Take the oldest event: see `qmpd.Machine.get_qmp_event`."""
        timeout = 0 if wait is False else None if wait is True else wait
        return self._take(lambda _: True, timeout, "an event")

    def get_qmp_events(self, wait: bool | float = False) -> list[Event]:
        """Take all events that have come: see `qmpd.Machine.get_qmp_events`."""
        first = self.get_qmp_event(wait)
        return ([] if first is None else [first]) + self._events.take_all()

    event_match = staticmethod(event_match)

    def _take(
        self, wants: Callable[[Event], bool], timeout: float | None, what: str
    ) -> Event | None:
        # what has come before the end of the connection is there all the same
        with suppress(MachineClosed):
            self._read(0)
        found = self._events.take(wants)
        if found is not None or timeout == 0:
            return found
        watch = self._events.watch(wants)
        try:
            self._read_until(lambda: watch.event is not None, timeout, f"event {what}")
        finally:
            self._events.unwatch(watch)
        return watch.event

    # Views

    def job(self, job_id: str) -> Job:
        """The job of an id, running or gone, if it began after this connection."""
        return Job(_Jobs(self), job_id)

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        """What query-named-block-nodes says of each node, by the nodes' names, newest first."""
        infos = self.cmd("query-named-block-nodes", {"flat": True})
        return {info["node-name"]: info for info in infos}

    # The socket

    def _read_until(self, done: Callable[[], bool], timeout: float | None, what: str) -> None:
        end = None if timeout is None else time.monotonic() + timeout
        while not done():
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError(f"waited {timeout} s for {what}")
            self._read(left)

    def _read(self, timeout: float | None) -> None:
        """Take what has come; wait so many seconds for it.

        :raises MachineClosed: the connection has ended
        """
        self._socket.settimeout(timeout)
        try:
            data = self._socket.recv(65536)
        except (TimeoutError, BlockingIOError):
            return
        finally:
            self._socket.settimeout(None)
        if not data:
            raise MachineClosed("the machine has closed the connection")
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "event" in message:
                self._records.see(message)
                self._events.put(message)
            elif "QMP" not in message:
                self._answers.append(message)
            elif not self.greeting:
                # QEMU, whose client came while it was starting, may greet it twice
                self.greeting = message


class _Jobs:
    """The jobs of a machine, for `Job`."""

    def __init__(self, machine: RemoteMachine) -> None:
        self._machine = machine

    def cmd(self, cmd: str) -> Any:
        return self._machine.cmd(cmd)

    @property
    def job_records(self) -> JobRecords:
        return self._machine._records

    def job_wait(self, job_id: str, statuses: Iterable[str], timeout: float | None) -> str:
        record = self._machine._records.find(job_id)
        ends = {*statuses, "concluded", "null"}
        self._machine._read_until(lambda: record.status in ends, timeout, f"job '{job_id}'")
        if record.status == "concluded":
            # one that does not stay has gone by the time of an answer
            self.cmd("query-jobs")
        return record.status
