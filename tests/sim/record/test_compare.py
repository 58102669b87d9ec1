"""Recordings played to qmpd, and to clients."""

from __future__ import annotations

import json
from typing import Any

import qmpd
from qmpd.sim.record.compare import Comparison
from qmpd.sim.record.differences import NOTHING, differences
from qmpd.sim.record.recording import Said, Side, said_in, said_line
from qmpd.sim.record.script import Script

GREETING = {
    "QMP": {
        "version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": "other"},
        "capabilities": ["oob"],
    }
}


def session(*messages: Any, step: float = 0.0) -> list[Said]:
    """A recording: a request is a dictionary with ``execute``, all else is the server's."""
    said = []
    for number, message in enumerate(messages):
        client = isinstance(message, str) or "execute" in message or "exec-oob" in message
        text = message if isinstance(message, str) else json.dumps(message)
        value, raw = said_in(text.encode())
        side: Side = "client" if client else "server"
        said.append(Said(number + 2, 1, number * step, side, value, raw))
    return said


def negotiated(*messages: Any, step: float = 0.0) -> list[Said]:
    return session(GREETING, {"execute": "qmp_capabilities"}, {"return": {}}, *messages, step=step)


def compare(said: list[Said], **machine: Any) -> list[str]:
    with qmpd.Machine(**machine) as vm:
        comparison = Comparison(vm._core.monitors, vm._core.clock)
        return [str(finding) for finding in comparison.play(said)]


def event(name: str, **data: Any) -> dict[str, Any]:
    stamp = {"timestamp": {"seconds": 1, "microseconds": 2}}
    return {**stamp, "event": name, **({"data": data} if data else {})}


def test_the_same() -> None:
    said = negotiated(
        {"execute": "stop", "id": 1},
        event("STOP"),
        {"return": {}, "id": 1},
        "{]",
        {"error": {"class": "GenericError", "desc": "JSON parse error, expecting value"}},
    )
    assert compare(said) == []


def test_what_differs() -> None:
    said = negotiated(
        {"execute": "query-status"},
        {"return": {"status": "paused", "singlestep": False, "running": True}},
        {"execute": "cont"},
        {"error": {"class": "GenericError", "desc": "no"}},
        {"execute": "query-name"},
        {"return": {}},
        event("RESUME"),
        {"execute": "stop"},
        {"return": {}},
        event("BLOCK_JOB_ERROR", device="x"),
        {"execute": "query-version"},
        event("STOP", why="x"),
    )
    assert compare(said, disks={}) == [
        'line 5, query-status: return.status: recorded "paused", qmpd "running"',
        "line 5, query-status: return.singlestep: recorded false, qmpd nothing",
        'line 7, cont: recorded {"error": {"class": "GenericError", "desc": "no"}},'
        ' qmpd {"return": {}}',
        "line 11, RESUME: recorded {}, qmpd nothing",
        'line 14, BLOCK_JOB_ERROR: recorded {"device": "x"}, qmpd nothing',
        'line 16, STOP: data: recorded {"why": "x"}, qmpd nothing',
    ]


def test_an_event_that_was_not_recorded() -> None:
    assert compare(negotiated({"execute": "stop"}, {"return": {}})) == [
        "STOP: recorded nothing, qmpd {}"
    ]


def test_no_answer() -> None:
    said = negotiated({"return": {}})
    assert compare(said) == [
        "line 5, answer: recorded {}, qmpd nothing".replace("{}", '{"return": {}}')
    ]


def backup(speed: int) -> dict[str, Any]:
    arguments = {"job-id": "j", "device": "disk0", "target": "target", "sync": "full"}
    return {"execute": "blockdev-backup", "arguments": {**arguments, "speed": speed}}


def test_jobs_and_time() -> None:
    """Time goes on as it was recorded; how far a job has come is no difference."""
    job = {"status": "running", "current-progress": 5, "total-progress": 4 << 20}
    said = negotiated(
        backup(1 << 20),
        event("JOB_STATUS_CHANGE", status="created", id="j"),
        event("JOB_STATUS_CHANGE", status="running", id="j"),
        event("JOB_STATUS_CHANGE", status="paused", id="j"),
        event("JOB_STATUS_CHANGE", status="running", id="j"),
        {"return": {}},
        {"execute": "query-jobs"},
        {"return": [{**job, "id": "j", "type": "backup"}]},
        event("JOB_STATUS_CHANGE", status="waiting", id="j"),
        event("JOB_STATUS_CHANGE", status="pending", id="j"),
        event(
            "BLOCK_JOB_COMPLETED",
            device="j",
            len=4 << 20,
            offset=4 << 20,
            speed=1 << 20,
            type="backup",
        ),
        event("JOB_STATUS_CHANGE", status="concluded", id="j"),
        event("JOB_STATUS_CHANGE", status="null", id="j"),
        {"execute": "query-jobs"},
        {"return": []},
        step=0.1,
    )
    assert compare(said, disks={"disk0": "4M", "target": "4M"}) == []


def test_generated_names_are_taken_over() -> None:
    add = {"driver": "raw", "node-name": "top", "file": {"driver": "null-co", "size": 512}}
    with qmpd.Machine() as vm:
        vm.cmd("blockdev-add", add)
        recorded = vm.qmp("query-named-block-nodes", flat=True)
        names = [node["node-name"] for node in recorded["return"]]
        (made_up,) = [name for name in names if name.startswith("#")]
        add_bitmap = {"execute": "block-dirty-bitmap-add"}
        arguments = {"node": made_up, "name": "b"}
        said = negotiated(
            {"execute": "blockdev-add", "arguments": add},
            {"return": {}},
            {"execute": "query-named-block-nodes", "arguments": {"flat": True}},
            recorded,
            {**add_bitmap, "arguments": arguments},
            {"return": {}},
        )
    assert compare(said, seed=99) == []


def test_where_messages_differ() -> None:
    def found(one: Any, other: Any) -> list[tuple[Any, ...]]:
        return [tuple(difference) for difference in differences(one, other)]

    assert found({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}, 4]}) == [
        ("a[1].b", 2, 3),
        ("a[2]", NOTHING, 4),
    ]
    assert found({"a": 1, "b": 2}, {"b": 2, "a": 1}) == [(", order of members", "a, b", "b, a")]
    assert found({"a": True}, {"a": 1}) == [("a", True, 1)]
    assert found("/tmp/x/disk.raw in '/a/b'", "/srv/disk.raw in '/b'") == []
    assert found("/tmp/x/disk.raw", "/tmp/x/other.raw") == [
        ("", "/tmp/x/disk.raw", "/tmp/x/other.raw")
    ]
    assert found("nbd://host/a", "nbd://host/b") == [("", "nbd://host/a", "nbd://host/b")]
    assert found({"node": "#block012"}, {"node": "#block999"}) == []
    assert (
        found(
            {"timestamp": {"seconds": 1, "microseconds": 2}},
            {"timestamp": {"seconds": 3, "microseconds": 4}},
        )
        == []
    )
    assert found({"thread-id": 5}, {}) == [("thread-id", 5, NOTHING)]
    assert found({"thread-id": 5}, {"thread-id": 6}) == []


def ask(script: Script, message: Any) -> list[Any]:
    text = json.dumps(message).encode() if isinstance(message, dict) else message
    return [json.loads(line) for line in script.take(said_in(text)[0], text)]


def test_a_client_that_asks_the_same() -> None:
    stop, status = {"execute": "stop", "id": "a"}, {"execute": "query-status"}
    script = Script(
        negotiated(stop, event("STOP"), {"return": {}, "id": "a"}, status, {"return": 1})
    )
    assert [json.loads(line) for line in script.begin()] == [GREETING]
    assert ask(script, {"execute": "qmp_capabilities"}) == [{"return": {}}]
    # another id will do
    assert ask(script, {"execute": "stop", "id": 5}) == [event("STOP"), {"return": {}, "id": 5}]
    assert ask(script, {"execute": "query-status"}) == [{"return": 1}]
    script.end()
    assert script.complaints == []


def test_requests_that_were_sent_ahead_need_not_be() -> None:
    one, two, three = ({"execute": name, "id": name} for name in ("a", "b", "c"))
    script = Script(
        session(
            *(GREETING, one, two, three, event("E"), {"return": 1, "id": "a"}),
            *({"return": 3, "id": "c"}, event("F"), {"return": 2, "id": "b"}),
        )
    )
    script.begin()
    assert ask(script, one) == [event("E"), {"return": 1, "id": "a"}]
    assert ask(script, two) == []
    assert ask(script, three) == [
        {"return": 3, "id": "c"},
        event("F"),
        {"return": 2, "id": "b"},
    ]
    assert script.complaints == []


def test_a_client_that_asks_something_else() -> None:
    script = Script(negotiated({"execute": "stop"}, {"return": {}}))
    script.begin()
    ask(script, {"execute": "qmp_capabilities"})
    (error,) = ask(script, {"execute": "cont", "id": 7})
    assert error["id"] == 7
    assert error["error"]["desc"] == (
        'Not as recorded: line 5: recorded {"execute": "stop"}, but the client asks'
        ' {"execute": "cont", "id": 7}'
    )
    (error,) = ask(script, b"{]")
    assert error["error"]["desc"].endswith("but the client asks {]")
    assert ask(script, {"execute": "stop"}) == [{"return": {}}]
    (error,) = ask(script, {"execute": "stop"})
    assert error["error"]["desc"].startswith("Not as recorded: nothing more was asked, but")
    assert len(script.complaints) == 3
    script.end()
    assert len(script.complaints) == 3


def test_a_client_that_leaves_early() -> None:
    script = Script(negotiated({"execute": "stop"}, {"return": {}}))
    script.begin()
    script.end()
    assert script.complaints == ["line 3: the client has left; 2 that were recorded were not asked"]


def test_lines_of_messages() -> None:
    assert json.loads(said_line(Said(0, 3, 0.25, "server", what="closed"))) == {
        "connection": 3,
        "time": 0.25,
        "closed": "server",
    }
