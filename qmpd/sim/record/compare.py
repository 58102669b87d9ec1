"""Playing the client's side of a recording to a machine, and what comes back then and now."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from qmpd.loop.clock import NANOSECONDS
from qmpd.monitor.transport import Output
from qmpd.sim.record.differences import NOTHING, Difference, differences, pair_names
from qmpd.sim.record.flips import Flips
from qmpd.sim.record.normal import GENERATED

if TYPE_CHECKING:
    from qmpd.loop.paced_clock import PacedClock
    from qmpd.monitor.monitors import Monitors
    from qmpd.monitor.qmp_monitor import QmpMonitor
    from qmpd.sim.record.recording import Said

PATIENCE: Final = 60 * NANOSECONDS
"""How much later than it was recorded a message may come, on the machine's clock."""

_PROGRESS: Final = {"busy", "offset", "current-progress"}
_JOB_LISTS: Final = {"query-jobs": "id", "query-block-jobs": "device"}
"""Commands that tell how far jobs are, with the member that names a job."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was recorded.

    :param line: of the recording
    :param about: the command or event
    """

    line: int
    about: str
    difference: Difference

    def __str__(self) -> str:
        path, recorded, played = self.difference
        where = f"{self.about}: {path}" if path else self.about
        line = f"line {self.line}, " if self.line else ""
        return f"{line}{where}: recorded {_short(recorded)}, qmpd {_short(played)}"


def _short(value: Any) -> str:
    text = repr(value) if value is NOTHING else json.dumps(value)
    return text if len(text) <= 200 else f"{text[:196]} ..."


@dataclass
class _Connection:
    """A client's connection, then and now."""

    monitor: QmpMonitor
    output: Output
    asked: deque[tuple[int, str, Any]] = field(default_factory=deque)
    """Requests whose recorded answers are to come: line, command, id."""
    answers: deque[Any] = field(default_factory=deque)
    """What has come back now, but for events."""
    expected: list[tuple[int, Any]] = field(default_factory=list)
    """Events that were recorded, with their lines, and have not come now."""
    events: list[Any] = field(default_factory=list)
    """Events that have come now and that were not expected."""
    recorded_flips: Flips = field(default_factory=Flips)
    played_flips: Flips = field(default_factory=Flips)


class Comparison:
    """Plays a recording to one machine.

    Answers are compared with the answers to the same requests, and events with the events, wherever
    between answers they come.  What may differ between two runs of QEMU counts as the same: dates,
    names that it makes up, directories of paths, how far a job has come, and the pairs of
    JOB_STATUS_CHANGE that come of drained sections.

    :param monitors: of the machine
    :param clock: its time, which is moved on as it was when the recording was made
    """

    def __init__(self, monitors: Monitors, clock: PacedClock) -> None:
        self._monitors = monitors
        self._clock = clock
        self._connections: dict[int, _Connection] = {}
        self._names: dict[str, str] = {}
        """Names that QEMU had made up, and what they are called now."""
        self._time = 0.0
        self.answers = 0
        """How many were compared."""
        self.events = 0
        """How many were recorded, without those that vary."""

    def play(self, recording: list[Said]) -> Iterator[Finding]:
        """Play it; gives what differs, as it is found."""
        for said in recording:
            if said.what == "closed":
                self._close(said.connection)
            elif said.what == "opened":
                self._connection(said.connection)
            elif said.side == "client":
                self._ask(said)
            else:
                yield from self._expect(said)
        self._clock.run_ready()
        for connection in self._connections.values():
            yield from self._left_over(connection)

    def _connection(self, number: int) -> _Connection:
        connection = self._connections.get(number)
        if connection is None:
            output = Output()
            monitor = self._monitors.add_qmp(f"connection-{number}", output)
            connection = self._connections[number] = _Connection(monitor, output)
            monitor.opened()
        return connection

    def _close(self, number: int) -> None:
        """A client has gone: what comes now was sent to nobody."""
        connection = self._connections.get(number)
        if connection is not None:
            self._receive(connection)
            connection.monitor.closed()

    def _ask(self, said: Said) -> None:
        connection = self._connection(said.connection)
        delta = round((said.time - self._time) * NANOSECONDS)
        self._time = max(self._time, said.time)
        self._clock.run_ready()
        if delta > 0:
            self._clock.advance(delta)
        message = said.message if isinstance(said.message, dict) else {}
        command = message.get("execute", message.get("exec-oob", "request"))
        connection.asked.append((said.line, str(command), message.get("id")))
        text = said.data.decode("utf-8", "surrogateescape")
        text = GENERATED.sub(lambda found: self._names.get(found.group(), found.group()), text)
        connection.monitor.feed(text.encode("utf-8", "surrogateescape") + b"\n")
        self._clock.run_ready()

    def _expect(self, said: Said) -> Iterator[Finding]:
        connection = self._connection(said.connection)
        message = said.message
        if isinstance(message, dict) and "event" in message:
            if not connection.recorded_flips.is_flip(message):
                self.events += 1
                expected = (said.line, message)
                connection.expected.append(expected)
                self._wait(connection, said, lambda: expected not in connection.expected)
            return
        self.answers += 1
        line, command, identity = said.line, "greeting", None
        if not (isinstance(message, dict) and "QMP" in message):
            line, command, identity = _asked(connection, message, said.line)
        self._wait(connection, said, lambda: bool(connection.answers))
        answer = _answer(connection, identity)
        if answer is None:
            yield Finding(line, command, Difference("", message, NOTHING))
            return
        if not isinstance(message, dict) or ("error" in message) != ("error" in answer):
            yield Finding(line, command, Difference("", message, answer))
            return
        pair_names(message, answer, self._names)
        recorded, played = _still(command, message, answer), _still(command, answer, message)
        for difference in differences(recorded, played):
            yield Finding(line, command, difference)

    def _wait(self, connection: _Connection, said: Said, done: Callable[[], bool]) -> None:
        """Let the machine go on until `done`, or until nothing will come of that."""
        ahead = max(0, round((said.time - self._time) * NANOSECONDS))
        end = self._clock.now() + ahead + PATIENCE
        while True:
            self._clock.run_ready()
            self._receive(connection)
            due = self._clock.next_due()
            if done() or due is None or due > end or not self._clock.jump():
                return

    def _receive(self, connection: _Connection) -> None:
        for line in connection.output.take().splitlines():
            message = json.loads(line)
            if "event" not in message:
                connection.answers.append(message)
            elif not connection.played_flips.is_flip(message):
                connection.events.append(message)
        _match_events(connection)

    def _left_over(self, connection: _Connection) -> Iterator[Finding]:
        """Events that have come only then, or only now."""
        self._receive(connection)
        unmatched = connection.events
        for line, event in connection.expected:
            name = event["event"]
            same = [other for other in unmatched if other["event"] == name]
            if not same:
                yield Finding(line, name, Difference("", event.get("data", {}), NOTHING))
                continue
            unmatched.remove(same[0])
            for difference in differences(event, same[0]):
                yield Finding(line, name, difference)
        for event in unmatched:
            yield Finding(0, event["event"], Difference("", NOTHING, event.get("data", {})))


def _asked(connection: _Connection, answer: Any, line: int) -> tuple[int, str, Any]:
    """The request that a recorded answer belongs to."""
    identity = answer.get("id") if isinstance(answer, dict) else None
    for asked in connection.asked:
        if asked[2] == identity:
            connection.asked.remove(asked)
            return asked
    return connection.asked.popleft() if connection.asked else (line, "answer", None)


def _answer(connection: _Connection, identity: Any) -> Any:
    """The answer that has come now, None if there is none."""
    for answer in connection.answers:
        if answer.get("id") == identity or "QMP" in answer:
            connection.answers.remove(answer)
            return answer
    return connection.answers.popleft() if connection.answers else None


def _match_events(connection: _Connection) -> None:
    """Take away the events that have come as they were recorded."""
    for expected in tuple(connection.expected):
        for event in connection.events:
            if next(differences(expected[1], event), None) is None:
                connection.expected.remove(expected)
                connection.events.remove(event)
                break


def _still(command: str, answer: Any, other: Any) -> Any:
    """An answer without what it tells of the progress of jobs.

    Of a list of jobs those are left that are in the same state in the `other` one.
    """
    name = _JOB_LISTS.get(command)
    if name is None or not isinstance(answer, dict) or not isinstance(answer.get("return"), list):
        return answer
    others = other.get("return", []) if isinstance(other, dict) else []
    states = {job.get(name): job.get("status") for job in others}
    jobs = [
        {member: value for member, value in job.items() if member not in _PROGRESS}
        for job in answer["return"]
        if job.get(name) in states and states[job.get(name)] == job.get("status")
    ]
    return {**answer, "return": jobs}
