"""The format of recordings: what is written, what is read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qmpd.profile import load
from qmpd.sim.record.recording import RecordingError, Said, read_recording, said_in, said_line
from qmpd.sim.record.redact import Redaction, vocabulary
from qmpd.sim.record.splitter import Splitter
from qmpd.sim.record.writer import Writer

HEAD = '{"qmpd-recording": 1}\n'


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_messages_of_a_stream(size: int) -> None:
    stream = (
        b'{"QMP": {}}\r\n{"a": "} \\" ]"}{"b": [1, {}]}\n'
        b"  {'c': '\\'{'} [1] junk {\"d\": \"\\\\\"}\n\xff{}"
    )
    splitter = Splitter()
    found = [
        message
        for start in range(0, len(stream), size)
        for message in splitter.feed(stream[start : start + size])
    ]
    assert found == [
        *(b'{"QMP": {}}', b'{"a": "} \\" ]"}', b'{"b": [1, {}]}', b"{'c': '\\'{'}"),
        *(b"[1]", b"junk ", b'{"d": "\\\\"}', b"\xff", b"{}"),
    ]
    assert splitter.end() == b""
    assert splitter.feed(b'{"half": "') == []
    assert splitter.end() == b'{"half": "'
    assert splitter.feed(b"{}") == [b"{}"]


@pytest.mark.parametrize(
    "text",
    [
        '{"execute": "stop", "id": 1}',
        '{"execute":"stop"}',
        '{"execute":  "stop"}',
        '{"a": "\u00e9", "b": 1e2}',
        "{'a': 1}",
        "junk",
        "\udcff",
    ],
)
def test_the_text_is_kept_but_for_spaces(text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    said = Said(2, 1, 0.5, "client", *said_in(data), descriptors=2)
    (read,) = read_recording([HEAD, said_line(said)], "f")
    assert read == said
    if '":"' not in text:
        assert read.data == data


def test_what_is_written() -> None:
    lines: list[str] = []
    writer = Writer(lines.append, lambda: 1.5, more=True)
    writer.opened(1)
    writer.passed(1, "server", b'{"QMP": 1}\r\n{"ret')
    writer.passed(1, "client", b'{"execute": "getfd"', descriptors=1)
    writer.passed(1, "client", b"}")
    writer.passed(1, "server", b'urn": {}}\r\n{"half')
    writer.closed(1, "server")
    writer.closed(1, "client")
    head, *rest = [json.loads(line) for line in lines]
    assert head["qmpd-recording"] == 1
    assert head["more"] is True
    same = {"connection": 1, "time": 1.5}
    assert rest == [
        {**same, "opened": "client"},
        {**same, "from": "server", "message": {"QMP": 1}},
        {**same, "from": "client", "message": {"execute": "getfd"}, "descriptors": 1},
        {**same, "from": "server", "message": {"return": {}}},
        {**same, "from": "server", "raw": '{"half'},
        {**same, "closed": "server"},
        {**same, "closed": "client"},
    ]
    assert len(read_recording(lines, "f")) == len(rest)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "'f' is no recording: its first line has no \"qmpd-recording\""),
        (["{}"], "'f' is no recording: its first line has no \"qmpd-recording\""),
        (["binary"], "'f' is no recording"),
        (
            ['{"qmpd-recording": 7}'],
            "'f' has version 7 of the format; this qmpd reads version 1",
        ),
        ([HEAD, '{"connection": 1, "from"'], "'f', line 2: it is no JSON (Expecting ':' "),
        ([HEAD, "\n", "[]"], "'f', line 3: it is no JSON object"),
        ([HEAD, '{"from": "client", "raw": "x"}'], "'f', line 2: it has no \"connection\""),
        ([HEAD, '{"connection": "1"}'], "'f', line 2: \"connection\" is '1'"),
        (
            [HEAD, '{"connection": 1, "from": "me", "raw": ""}'],
            '\'f\', line 2: "from" is \'me\', not "client" or "server"',
        ),
        (
            [HEAD, '{"connection": 1, "from": "client"}'],
            '\'f\', line 2: it has neither "message" nor "raw"',
        ),
        (
            [HEAD, '{"connection": 1}'],
            '\'f\', line 2: it has none of "from", "opened" and "closed"',
        ),
    ],
)
def test_what_is_refused(lines: list[str], complaint: str) -> None:
    with pytest.raises(RecordingError) as caught:
        read_recording(lines, "f")
    assert str(caught.value).startswith(complaint)


def test_names_and_keys_are_left_out() -> None:
    redaction = Redaction(vocabulary(load()))
    key = {"qom-type": "secret", "id": "key0", "data": "c2VjcmV0IHdvcmQ="}
    assert redaction.of_message({"execute": "object-add", "arguments": key}) == {
        "execute": "object-add",
        "arguments": {"qom-type": "secret", "id": "name-1", "data": "name-2"},
    }
    node = {"driver": "file", "node-name": "customer", "filename": "/srv/customer.raw"}
    assert redaction.of_message({"execute": "blockdev-add", "arguments": node}) == {
        "execute": "blockdev-add",
        "arguments": {"driver": "file", "node-name": "name-3", "filename": "name-4"},
    }
    for text, told in (
        ("Bitmap already exists: customer", "Bitmap already exists: name-3"),
        ("Could not open '/srv/customer.raw': denied", "Could not open 'name-4': denied"),
        ("Could not open /srv/other.raw: denied", "Could not open name-5: denied"),
        ("Cannot find device='#block123' nor key0", "Cannot find device='#block123' nor name-1"),
    ):
        error = {"error": {"class": "GenericError", "desc": text}}
        assert redaction.of_message(error) == {"error": {"class": "GenericError", "desc": told}}
    password = {"execute": "set_password", "arguments": {"password": "file"}}
    assert redaction.of_message(password)["arguments"] == {"password": "name-7"}
    event = {"event": "STOP", "timestamp": {"seconds": 5, "microseconds": 1}}
    assert redaction.of_message(event) == event


def test_a_redacted_recording_tells_nothing() -> None:
    lines: list[str] = []
    writer = Writer(lines.append, lambda: 0.0, Redaction(vocabulary(load())))
    writer.passed(1, "client", b'{"execute": "x", "id": "hush", "arguments": {"a": ["hush"]}}')
    writer.passed(1, "client", b"hush\n{'a': 'hush'}")
    assert "hush" not in "".join(lines)
    assert json.loads(lines[0])["redacted"] is True
    assert len(read_recording(lines, "f")) == 3


def test_the_documentation_names_every_member() -> None:
    page = (Path(__file__).parents[3] / "docs/howto/record.md").read_text("utf-8")
    for member in ("connection", "time", "from", "message", "raw", "descriptors"):
        assert f"| `{member}` |" in page
