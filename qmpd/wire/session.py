"""The state of one QMP connection, from its greeting on; no sockets here.

`Session` turns the bytes of a client into checked requests, and replies and events
into bytes.  The behaviour is that of QEMU's monitor: negotiation first, requests checked
member by member in the order of their hash table, the id echoed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, overload

from qmpd.base.qdict import member_order
from qmpd.errors import CommandNotFound, GenericError, QmpError
from qmpd.wire.encode import dumps, joined, large, plain
from qmpd.wire.json_stream import NEED_MORE, TOO_LONG, JsonStream, TooLong


class _NoId(Enum):
    NO_ID = "no id"


NO_ID: Final = _NoId.NO_ID
"""The id of a request without one (null is an id)."""


# The states of a connection
#
# A client is greeted, and then has to negotiate: until qmp_capabilities succeeds, it is the only
# command, and any other is answered with CommandNotFound.  Events are not sent yet; those that
# happen meanwhile are lost to this client.  After that it is the other way round: everything is
# served, events are sent, and qmp_capabilities is the command that does not exist any more.  A
# qmp_capabilities that fails (it asks for a capability that was not offered) changes nothing.
# There is no way back to the first state but a new connection.
#
# A command that does not exist at all is refused in the same way in both states, later: the
# texts below come first.


class SessionState(Enum):
    """States of a session."""

    NEGOTIATING = "negotiating"
    COMMANDS = "commands"


class StateRule(NamedTuple):
    """The rules of a state.

    :param refused: why a command other than qmp_capabilities is not found
    :param negotiation_refused: why qmp_capabilities is not found
    :param events: whether events are sent
    """

    refused: str | None
    negotiation_refused: str | None
    events: bool


RULES: Final[Mapping[SessionState, StateRule]] = MappingProxyType(
    {
        SessionState.NEGOTIATING: StateRule(
            refused="Expecting capabilities negotiation with 'qmp_capabilities'",
            negotiation_refused=None,
            events=False,
        ),
        SessionState.COMMANDS: StateRule(
            refused=None,
            negotiation_refused="Capabilities negotiation is already complete, command ignored",
            events=True,
        ),
    }
)
"""The states; a successful qmp_capabilities leads from the first to the second."""


@dataclass(slots=True)
class Request:
    """A well-formed request.

    :param command: name of the command, known or not
    :param arguments: None where absent
    :param oob: whether it came as ``exec-oob``, which runs before waiting requests
    :param id: any JSON value, `NO_ID` where absent
    """

    command: str
    arguments: dict[str, object] | None
    oob: bool
    id: object
    large: bool = False
    """Whether it was long to read: so may be all that is done with what it says."""


@dataclass(slots=True)
class BadRequest:
    """Input that is answered with an error at once.

    :param error: what the client is told
    :param id: the request's id, if it has one
    :param oob: whether it was out-of-band, so that the answer does not wait
    """

    error: QmpError
    id: object = NO_ID
    oob: bool = False
    large: bool = False


def _located_stream() -> JsonStream:
    from qmpd.wire.json_places import LocatedStream

    return LocatedStream()


class Session:
    """One connection.

    :param qemu_version: major, minor, micro
    :param package: the package string of the greeting
    :param oob: whether the capability oob is offered
    :param pretty: whether output is spread over lines
    :param places: whether parse errors say where they are
    """

    def __init__(
        self,
        *,
        qemu_version: tuple[int, int, int],
        package: str,
        oob: bool = True,
        pretty: bool = False,
        places: bool = False,
    ) -> None:
        self._version = qemu_version
        self._package = package
        self._offered = ("oob",) if oob else ()
        self._pretty = pretty
        self._stream = _located_stream() if places else JsonStream()
        self._enter(SessionState.NEGOTIATING)
        self.oob_enabled = False

    def _enter(self, state: SessionState) -> None:
        self.state = state
        self._rule = RULES[state]

    def greeting(self) -> bytes:
        """The greeting, which the client is sent first."""
        major, minor, micro = self._version
        qemu = {"major": major, "minor": minor, "micro": micro}
        version = {"qemu": qemu, "package": self._package}
        return self._line({"QMP": {"version": version, "capabilities": list(self._offered)}})

    def feed(self, data: bytes) -> None:
        """Add bytes from the client; `next_request` parses them."""
        self._stream.feed(data)

    @overload
    def next_request(self) -> Request | BadRequest | None: ...

    @overload
    def next_request(
        self, *, patient: bool
    ) -> Request | BadRequest | Literal[TooLong.TOO_LONG] | None: ...

    def next_request(
        self, *, patient: bool = True
    ) -> Request | BadRequest | Literal[TooLong.TOO_LONG] | None:
        """Parse the next request; None if more bytes are needed.

        :param patient: whether that may take long; if not, `TOO_LONG` may be returned

        Call it again only when the request has been answered, unless `oob_enabled`: negotiation
        decides what a request may contain.
        """
        result = self._stream.next(patient=patient)
        if result is NEED_MORE:
            return None
        if result is TOO_LONG:
            return TOO_LONG
        if isinstance(result, QmpError):
            return BadRequest(result)
        members = result[0]
        if type(members) is not dict:
            return BadRequest(GenericError("QMP input must be a JSON object"))
        command = members.get("execute")
        if type(command) is str:
            if len(members) == 1:
                return Request(command, None, False, NO_ID)
            arguments = members.get("arguments")
            identity = members.get("id", NO_ID)
            known = 2 if identity is NO_ID else 3
            if type(arguments) is dict and len(members) == known:
                return Request(command, arguments, False, identity)
        return self._check_members(members)

    def _check_members(self, members: dict[str, object]) -> Request | BadRequest:
        """Check a request (``qmp_dispatch_check_obj``): the first wrong member is reported."""
        identity = members.get("id", NO_ID)
        oob = "exec-oob" in members and "execute" not in members
        executes = ("execute", "exec-oob") if self.oob_enabled else ("execute",)
        found: str | None = None
        for name in member_order(members):
            value = members[name]
            wrong: str | None = None
            if name in executes:
                if not isinstance(value, str):
                    wrong = "must be a string"
                elif found is not None:
                    wrong = f"clashes with '{found}'"
                found = name
            elif name == "arguments":
                if not isinstance(value, dict):
                    wrong = "must be an object"
            elif name != "id":
                wrong = "is unexpected"
            if wrong is not None:
                error = GenericError(f"QMP input member '{name}' {wrong}")
                return BadRequest(error, identity, oob)
        if found is None:
            return BadRequest(GenericError("QMP input lacks member 'execute'"), identity, oob)
        command, arguments = members[found], members.get("arguments")
        assert isinstance(command, str)
        assert arguments is None or isinstance(arguments, dict)
        return Request(command, arguments, oob, identity)

    def check_command(self, name: str) -> None:
        """Check that the state allows command `name`, before it is looked up.

        :raises CommandNotFound: it does not, whether the command exists or not
        """
        refused = self._rule.refused
        if refused is not None and name != "qmp_capabilities":
            raise CommandNotFound(refused)

    def negotiate(self, enable: Sequence[str]) -> None:
        """Do what command qmp_capabilities does, after its arguments have been read.

        :param enable: names of enum QMPCapability
        :raises CommandNotFound: negotiation is over already
        :raises GenericError: a capability was not offered; negotiation goes on
        """
        refused = self._rule.negotiation_refused
        if refused is not None:
            raise CommandNotFound(refused)
        missing = [name for name in enable if name not in self._offered]
        if missing:
            raise GenericError(f"Capability {', '.join(missing)} not available")
        self.oob_enabled = "oob" in enable
        self._enter(SessionState.COMMANDS)

    def reply(self, request: Request, value: object) -> bytes:
        """The answer to a request that succeeded.

        :param value: what the command returns, ``{}`` for nothing; see `dumps`
        """
        if request.large and not self._pretty:
            return _large_answer("return", value, request.id)
        if self._pretty:
            message = {"return": value}
            return self._line(message if request.id is NO_ID else {**message, "id": request.id})
        if request.id is not NO_ID:
            return f'{{"return": {plain(value)}, "id": {plain(request.id)}}}\r\n'.encode()
        return f'{{"return": {plain(value)}}}\r\n'.encode()

    def reply_error(self, request: Request | BadRequest, error: QmpError) -> bytes:
        """The answer to a request that failed."""
        body = {"class": error.error_class, "desc": error.desc}
        if request.large and not self._pretty:
            return _large_answer("error", body, request.id)
        if request.id is NO_ID:
            return self._line({"error": body})
        return self._line({"error": body, "id": request.id})

    def event(
        self, name: str, data: Mapping[str, object] | None, seconds: int, microseconds: int
    ) -> bytes | None:
        """An event's bytes; None where the state keeps events from the client.

        :param data: members in schema order; None for an event without any
        :param seconds: since the epoch, -1 where the clock failed
        :param microseconds: 0 to 999999, -1 where the clock failed
        """
        if not self._rule.events:
            return None
        if self._pretty:
            timestamp = {"seconds": seconds, "microseconds": microseconds}
            event: dict[str, object] = {"event": name, "timestamp": timestamp}
            return self._line(event if data is None else {**event, "data": data})
        stamp = f'{{"seconds": {seconds}, "microseconds": {microseconds}}}'
        rest = "" if data is None else f', "data": {plain(data)}'
        return f'{{"timestamp": {stamp}, "event": "{name}"{rest}}}\r\n'.encode()

    def _line(self, message: dict[str, object]) -> bytes:
        return dumps(message, self._pretty) + b"\r\n"


def _large_answer(member: str, value: object, identity: object) -> bytes:
    """An answer that is long to make: other threads can go on meanwhile."""
    pieces = [f'{{"{member}": ', *large(value)]
    if identity is not NO_ID:
        pieces += [', "id": ', *large(identity)]
    return joined([*pieces, "}\r\n"])
