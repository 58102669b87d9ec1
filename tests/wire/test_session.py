from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qmpd.errors import CommandNotFound, DeviceNotFound, GenericError
from qmpd.wire.encode import Raw
from qmpd.wire.session import NO_ID, RULES, BadRequest, Request, Session, SessionState

from .peers import OwnSession

SESSIONS = Path(__file__).parents[1] / "golden" / "sessions"


@pytest.fixture
def session() -> Session:
    return Session(qemu_version=(10, 0, 2), package="v10")


def state(session: Session) -> SessionState:
    return session.state


def ask(session: Session, data: str | bytes) -> Any:
    session.feed(data.encode() if isinstance(data, str) else data)
    return session.next_request()


def wrong(session: Session, data: str | bytes) -> tuple[str, object]:
    request = ask(session, data)
    assert isinstance(request, BadRequest)
    assert isinstance(request.error, GenericError)
    return request.error.desc, request.id


def test_greeting(session: Session) -> None:
    assert session.greeting() == (
        b'{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, '
        b'"package": "v10"}, "capabilities": ["oob"]}}\r\n'
    )
    plain = Session(qemu_version=(9, 1, 0), package="", oob=False)
    assert plain.greeting().endswith(b'"package": ""}, "capabilities": []}}\r\n')


def test_requests(session: Session) -> None:
    assert ask(session, '{"execute":"x"}') == Request("x", None, False, NO_ID)
    assert ask(session, '{"id":null,"execute":"x"}') == Request("x", None, False, None)
    assert ask(session, '{"execute":"x","arguments":{}}') == Request("x", {}, False, NO_ID)
    assert ask(session, "{'arguments':{'a':[1]},'execute':'x','id':{'k':2.5}}") == Request(
        "x", {"a": [1]}, False, {"k": 2.5}
    )
    assert ask(session, '{"execute"') is None
    assert ask(session, ':"y"}') == Request("y", None, False, NO_ID)


@pytest.mark.parametrize("text", ["5 ", "[1]", '"s"', "null ", "true ", "1.5 ", "[{}]"])
def test_no_object(session: Session, text: str) -> None:
    assert wrong(session, text) == ("QMP input must be a JSON object", NO_ID)


@pytest.mark.parametrize(
    ("text", "desc"),
    [
        ("{}", "QMP input lacks member 'execute'"),
        ('{"arguments":{}}', "QMP input lacks member 'execute'"),
        ('{"execute":5}', "QMP input member 'execute' must be a string"),
        ('{"execute":null}', "QMP input member 'execute' must be a string"),
        ('{"execute":"x","foo":1}', "QMP input member 'foo' is unexpected"),
        ('{"execute":"x","arguments":{},"foo":1}', "QMP input member 'foo' is unexpected"),
        ('{"execute":"x","foo":1,"bar":2}', "QMP input member 'bar' is unexpected"),
        ('{"execute":"x","arguments":[]}', "QMP input member 'arguments' must be an object"),
        ('{"execute":"x","arguments":null}', "QMP input member 'arguments' must be an object"),
        ('{"exec-oob":"x"}', "QMP input member 'exec-oob' is unexpected"),
        ('{"execute":"x","exec-oob":"x"}', "QMP input member 'exec-oob' is unexpected"),
        ('{"foo":1,"execute":5}', "QMP input member 'execute' must be a string"),
        ('{"arguments":5,"execute":5}', "QMP input member 'execute' must be a string"),
        ('{"arguments":5,"foo":1}', "QMP input member 'arguments' must be an object"),
        ('{"zzz":1,"aaa":2}', "QMP input member 'aaa' is unexpected"),
        ('{"e\\u00e9":1}', "QMP input member 'eé' is unexpected"),
    ],
)
def test_wrong_members(session: Session, text: str, desc: str) -> None:
    assert wrong(session, text) == (desc, NO_ID)
    with_id = text[:-1] + (', "id": [3]}' if len(text) > 2 else '"id": [3]}')
    assert wrong(session, with_id) == (desc, [3])


def test_parse_errors_have_no_id(session: Session) -> None:
    assert wrong(session, '{"id":1,"execute":}') == ("JSON parse error, expecting value", NO_ID)


def test_oob(session: Session) -> None:
    session.negotiate(["oob"])
    assert session.oob_enabled
    assert ask(session, '{"exec-oob":"x","id":1}') == Request("x", None, True, 1)
    assert ask(session, '{"execute":"x","id":1}') == Request("x", None, False, 1)
    both = ask(session, '{"exec-oob":"x","execute":"y"}')
    assert both.error.desc == "QMP input member 'execute' clashes with 'exec-oob'"
    assert not both.oob
    bad = ask(session, '{"exec-oob":5,"id":3}')
    assert (bad.error.desc, bad.id) == ("QMP input member 'exec-oob' must be a string", 3)
    assert bad.oob


def test_every_state_and_command() -> None:
    """Each state with each kind of command, by the table."""
    assert set(RULES) == set(SessionState)
    expecting = "Expecting capabilities negotiation with 'qmp_capabilities'"
    complete = "Capabilities negotiation is already complete, command ignored"
    session = Session(qemu_version=(10, 0, 2), package="")
    assert state(session) is SessionState.NEGOTIATING
    with pytest.raises(CommandNotFound, match=expecting):
        session.check_command("query-version")
    session.check_command("qmp_capabilities")
    session.negotiate([])
    assert state(session) is SessionState.COMMANDS
    assert not session.oob_enabled
    session.check_command("query-version")
    session.check_command("qmp_capabilities")
    with pytest.raises(CommandNotFound, match=complete):
        session.negotiate(["oob"])
    assert not session.oob_enabled


def test_a_capability_that_is_not_offered() -> None:
    session = Session(qemu_version=(10, 0, 2), package="", oob=False)
    with pytest.raises(GenericError, match="Capability oob, oob not available"):
        session.negotiate(["oob", "oob"])
    assert state(session) is SessionState.NEGOTIATING
    session.negotiate([])
    assert state(session) is SessionState.COMMANDS


def test_replies(session: Session) -> None:
    request = Request("x", None, False, NO_ID)
    assert session.reply(request, {}) == b'{"return": {}}\r\n'
    assert session.reply(request, []) == b'{"return": []}\r\n'
    assert session.reply(request, Raw({"b": 0, "a": 1})) == b'{"return": {"a": 1, "b": 0}}\r\n'
    request.id = None
    assert session.reply(request, "é") == b'{"return": "\\u00E9", "id": null}\r\n'
    request.id = {"z": 1, "a": "é"}
    assert session.reply(request, {}) == b'{"return": {}, "id": {"a": "\\u00E9", "z": 1}}\r\n'


def test_error_replies(session: Session) -> None:
    error = DeviceNotFound("Device 'é' not found")
    body = b'"error": {"class": "DeviceNotFound", "desc": "Device \'\\u00E9\' not found"}}\r\n'
    assert session.reply_error(Request("x", None, False, NO_ID), error) == b"{" + body
    assert session.reply_error(BadRequest(error, 7), error) == b'{"id": 7, ' + body


def test_events(session: Session) -> None:
    assert session.event("STOP", None, 1, 2) is None
    session.negotiate([])
    assert session.event("STOP", None, 1, 2) == (
        b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}\r\n'
    )
    assert session.event("E", {"status": "x", "id": "j"}, -1, -1) == (
        b'{"timestamp": {"seconds": -1, "microseconds": -1}, "event": "E", '
        b'"data": {"status": "x", "id": "j"}}\r\n'
    )
    assert session.event("E", {}, 0, 0) == (
        b'{"timestamp": {"seconds": 0, "microseconds": 0}, "event": "E", "data": {}}\r\n'
    )


def test_pretty() -> None:
    session = Session(qemu_version=(10, 0, 2), package="", pretty=True)
    session.negotiate([])
    request = Request("x", None, False, 5)
    assert session.reply(request, {}) == b'{\r\n    "return": {\r\n    },\r\n    "id": 5\r\n}\r\n'
    event = session.event("E", {"a": 1}, 1, 2)
    assert event is not None
    assert event.startswith(b'{\r\n    "timestamp": {\r\n        "seconds": 1,\r\n')
    assert event.endswith(b'    "data": {\r\n        "a": 1\r\n    }\r\n}\r\n')


def test_both_layouts_say_the_same(session: Session) -> None:
    pretty = Session(qemu_version=(10, 0, 2), package="v10", pretty=True)
    request = Request("x", None, False, {"b": [1]})
    for one in (session, pretty):
        one.negotiate([])
    for left, right in (
        (session.greeting(), pretty.greeting()),
        (session.reply(request, {"k": 1.5}), pretty.reply(request, {"k": 1.5})),
        (session.event("E", {"k": 1}, 1, 2), pretty.event("E", {"k": 1}, 1, 2)),
    ):
        assert left is not None
        assert right is not None
        assert list(json.loads(left)) == list(json.loads(right))
        assert json.loads(left) == json.loads(right)


def _recorded(name: str) -> Iterator[dict[str, Any]]:
    for line in (SESSIONS / name).read_text().splitlines():
        yield json.loads(line)


@pytest.mark.parametrize("step", [1, 5, 1 << 20])
def test_the_recorded_session_byte_by_byte(step: int) -> None:
    """Every line QEMU sent, raw, in answer to every raw input."""
    package = "Debian 1:10.0.2+ds-2+deb13u1~bpo12+1"
    own = OwnSession(package=package)
    answers = [own.greeting()]
    compared = 0
    for entry in _recorded("wire-json.jsonl"):
        if "send" in entry:
            answers += own.answers(json.dumps(entry["send"]).encode() + b"\n", step)
        elif "send_raw" in entry:
            answers += own.answers(entry["send_raw"].encode("latin-1"), step)
        elif "recv" in entry:
            assert answers.pop(0) == entry["raw"].encode()
            compared += 1
    assert answers == []
    assert compared > 60


def test_the_recorded_negotiation() -> None:
    own = OwnSession(package="Debian 1:10.0.2+ds-2+deb13u1~bpo12+1")
    own.greeting()
    answers: list[bytes] = []
    compared = 0
    skipped = False
    for entry in list(_recorded("wire-negotiation.jsonl"))[2:]:
        if "send" in entry:
            # how arguments are read is not this layer's business
            skipped = "enable" in str(entry["send"]) and own.session.state is (
                SessionState.NEGOTIATING
            )
            if not skipped:
                answers += own.answers(json.dumps(entry["send"]).encode() + b"\n")
        elif "send_raw" in entry:
            skipped = False
            answers += own.answers(entry["send_raw"].encode())
        elif "recv" in entry and not skipped:
            assert json.loads(answers[0]) == entry["recv"]
            assert list(json.loads(answers.pop(0))) == list(entry["recv"])
            compared += 1
    assert compared > 30
