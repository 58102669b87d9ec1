"""What a client and a server have said, as the rules look at it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qmpd.profile.shipped import VERSIONS
from qmpd.qapi.compiler.versions import parse_release

if TYPE_CHECKING:
    from qmpd.sim.journal.entry import Entry
    from qmpd.sim.record.recording import Said


@dataclass(slots=True, eq=False)
class Asked:
    """A request.

    :param place: where it is: the line of a recording, the number of a journal's entry
    :param client: who has sent it
    :param oob: whether it was sent out of band
    :param time: when, in seconds
    :param id: its ``id``
    :param answer: what was answered; None if that is not known
    """

    place: int
    command: str
    arguments: Mapping[str, Any]
    client: str = ""
    oob: bool = False
    time: float = 0.0
    id: Any = None
    answer: Answer | None = None

    @property
    def key(self) -> str:
        """What requests have in common of which all versions think the same."""
        return json.dumps([self.command, self.oob, self.arguments])

    @property
    def failed(self) -> bool:
        """Whether it was answered with an error."""
        return self.answer is not None and self.answer.error is not None

    @property
    def succeeded(self) -> bool:
        """Whether it was answered, and not with an error."""
        return self.answer is not None and self.answer.error is None


@dataclass(slots=True, eq=False)
class Answer:
    """What was answered to a request."""

    place: int
    asked: Asked
    value: Any = None
    error: str | None = None
    time: float = 0.0


@dataclass(slots=True, eq=False)
class Told:
    """An event that a client was sent."""

    place: int
    event: str
    data: Mapping[str, Any]
    client: str = ""
    time: float = 0.0


Step = Asked | Answer | Told
"""What may happen in a session."""


@dataclass(slots=True)
class Session:
    """What has been said, in its order.

    :param version: the server's, of those that qmpd has the newest that is not newer; None if it
        is not known
    """

    steps: list[Step] = field(default_factory=list)
    version: str | None = None

    @classmethod
    def of(cls, asked: Iterable[Asked]) -> Session:
        """A session of which only requests are known."""
        return cls(list(asked))

    @property
    def requests(self) -> Iterator[Asked]:
        """The requests."""
        return (step for step in self.steps if isinstance(step, Asked))


class _Builder:
    """Finds the request of each answer."""

    def __init__(self) -> None:
        self.session = Session()
        self._pending: dict[str, list[tuple[Any, Asked | None]]] = {}

    def ask(self, client: str, asked: Asked) -> None:
        """Add a request."""
        self._pending.setdefault(client, []).append((asked.id, asked))
        self.session.steps.append(asked)

    def misspell(self, client: str, id_: Any) -> None:
        """Add what is answered as a request, and is none."""
        self._pending.setdefault(client, []).append((id_, None))

    def answer(self, client: str, message: Mapping[str, Any], place: int, time: float) -> None:
        """Add an answer: that of the oldest request with its id."""
        pending = self._pending.get(client, [])
        ids = [id_ for id_, _ in pending]
        if message.get("id") not in ids:
            return
        _, asked = pending.pop(ids.index(message.get("id")))
        if asked is not None:
            error = message.get("error")
            desc = str(error.get("desc")) if isinstance(error, dict) else None
            asked.answer = Answer(place, asked, message.get("return"), desc, time)
            self.session.steps.append(asked.answer)

    def greet(self, greeting: Any) -> None:
        """Take note of a greeting."""
        self.session.version = _version(greeting) or self.session.version

    def tell(self, told: Told) -> None:
        """Add an event."""
        self.session.steps.append(told)

    def close(self, client: str) -> None:
        """A client has gone."""
        self._pending.pop(client, None)


def _version(greeting: Any) -> str | None:
    """The version of a server, as one that qmpd has; None if the greeting does not say."""
    try:
        qemu = greeting["QMP"]["version"]["qemu"]
        release = (int(qemu["major"]), int(qemu["minor"]))
    except (KeyError, TypeError, ValueError):
        return None
    known = [version for version in VERSIONS if parse_release(version) <= release]
    return known[-1] if known else None


def session_of_recording(said: Iterable[Said]) -> Session:
    """The session in a recording."""
    builder = _Builder()
    for entry in said:
        client, message = str(entry.connection), entry.message
        if entry.what != "said":
            builder.close(client)
        elif entry.side == "client":
            asked = _asked(entry, client)
            if asked is not None:
                builder.ask(client, asked)
            else:
                builder.misspell(client, message.get("id") if isinstance(message, dict) else None)
        elif not isinstance(message, dict):
            continue
        elif "QMP" in message:
            builder.greet(message)
        elif isinstance(message.get("event"), str):
            data = message.get("data")
            known = data if isinstance(data, dict) else {}
            builder.tell(Told(entry.line, message["event"], known, client, entry.time))
        elif "return" in message or "error" in message:
            builder.answer(client, message, entry.line, entry.time)
    return builder.session


def _asked(entry: Said, client: str) -> Asked | None:
    message = entry.message
    if not isinstance(message, dict):
        return None
    command = message.get("execute", message.get("exec-oob"))
    arguments = message.get("arguments", {})
    if not isinstance(command, str) or not isinstance(arguments, dict):
        return None
    oob = "exec-oob" in message
    return Asked(entry.line, command, arguments, client, oob, entry.time, message.get("id"))


def session_of_journal(entries: Iterable[Entry]) -> Session:
    """The session in a journal; what the human monitor is told is no part of it."""
    from qmpd.loop.clock import NANOSECONDS

    builder = _Builder()
    for entry in entries:
        client, time = entry.monitor or "", entry.time / NANOSECONDS
        if entry.kind == "request":
            if entry.command is None:
                builder.misspell(client, entry.id)
            elif entry.arguments is not None:
                asked = Asked(entry.number, entry.command, entry.arguments, client)
                asked.oob, asked.time, asked.id = bool(entry.oob), time, entry.id
                builder.ask(client, asked)
        elif entry.kind == "answer" and entry.answer is not None and "text" not in entry.answer:
            builder.answer(client, entry.answer, entry.number, time)
        elif entry.kind == "event" and entry.event is not None:
            builder.tell(Told(entry.number, entry.event, entry.data or {}, client, time))
        elif entry.kind == "connection":
            builder.close(client)
            builder.greet((entry.data or {}).get("greeting"))
    return builder.session
