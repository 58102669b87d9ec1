"""Which versions refuse what a client sends, and what is deprecated."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

import qmpd
from qmpd.profile.shipped import VERSIONS
from qmpd.sim.lint import Asked, Finding, Session, between, lint
from qmpd.sim.lint.session import Answer
from tests.lint.sessions import Line, answer, ask, session

COMMON = {"device": "d", "target": "t", "sync": "full"}


def _findings(*asked: Asked) -> list[Finding]:
    """What is found in the requests as such; rules of qmpd's may have more to say."""
    return [each for each in lint(Session.of(asked)) if each.kind not in ("otherwise", "wait")]


def _of(*asked: Asked) -> list[tuple[str, str, str, str]]:
    return [(f.kind, f.versions[0], f.versions[-1], f.why) for f in _findings(*asked)]


def _told(command: str, **arguments: Any) -> list[tuple[str, str, str, str]]:
    return _of(Asked(1, command, {name.replace("_", "-"): v for name, v in arguments.items()}))


def test_what_all_have_is_fine() -> None:
    assert _told("query-status") == []
    assert _told("block-dirty-bitmap-add", node="n", name="b") == []


def test_commands_and_arguments_that_only_some_have() -> None:
    assert _told("x-blockdev-reopen", driver="null-co", node_name="n") == [
        ("refused", "6.2", "11.1", "The command x-blockdev-reopen has not been found")
    ]
    assert _told("blockdev-backup", discard_source=True, **COMMON) == [
        ("refused", "5.2", "8.2", "Parameter 'discard-source' is unexpected")
    ]
    assert _told("query-block", flat=True) == [
        ("refused", "5.2", "10.2", "Parameter 'flat' is unexpected")
    ]


def test_values_are_refused_in_the_words_of_each_version() -> None:
    told = _told("blockdev-add", driver="snapshot-access", node_name="n", file="f")
    assert told == [
        ("refused", "5.2", "5.2", "Invalid parameter 'snapshot-access'"),
        ("refused", "6.2", "6.2", "Parameter 'driver' does not accept value 'snapshot-access'"),
    ]


def test_what_is_deprecated() -> None:
    assert _told("drive-backup", **COMMON) == [("deprecated", "6.2", "11.1", "the command")]
    gluster = {"driver": "gluster", "volume": "v", "path": "p", "server": []}
    assert _told("blockdev-add", node_name="n", **gluster) == [
        ("refused", "11.1", "11.1", "Parameter 'driver' does not accept value 'gluster'"),
        ("deprecated", "9.2", "10.2", "value gluster"),
    ]


def test_parts_that_are_deprecated() -> None:
    requests = [
        Asked(1, "block-commit", {"device": "d", "top": "t", "base": "b"}),
        Asked(2, "transaction", {"actions": [{"type": "drive-backup", "data": COMMON}]}),
        Asked(3, "eject", {"device": "d"}),
    ]
    found = _findings(*requests)
    assert [(finding.place, finding.why, finding.instead) for finding in found] == [
        (1, "parameter base", "Arguments @base and @top. Use @base-node and @top-node."),
        (1, "parameter top", "Arguments @base and @top. Use @base-node and @top-node."),
        (
            2,
            "value drive-backup",
            "Value @drive-backup. Use @blockdev-backup, with a node made by blockdev-add.",
        ),
        (3, "parameter device", "Argument @device. Use @id."),
    ]


def test_what_none_has_is_the_clients_error() -> None:
    told = _told("block-dirty-bitmap-add", node="n")
    assert told == [("error", VERSIONS[0], VERSIONS[-1], "Parameter 'name' is missing")]
    assert _told("no-such-command")[0][0] == "error"


def test_the_same_is_told_once() -> None:
    requests = [Asked(place, "drive-backup", COMMON) for place in (3, 5)]
    (finding,) = _findings(*requests)
    assert (finding.place, finding.times) == (3, 2)
    assert str(finding) == (
        "3: drive-backup: deprecated in 6.2 to 11.1: the command"
        " (Use blockdev-backup, with a node made by blockdev-add.; 2 times)"
    )


def test_commands_that_qmpd_does_not_know() -> None:
    """They are those of programs, so that nothing is said of them but where there are none."""
    assert _told("set_password", protocol="vnc", password="p") == []
    assert _told("query-accelerators") == [
        ("refused", "5.2", "10.0", "The command query-accelerators has not been found")
    ]


def test_out_of_band() -> None:
    told = _of(Asked(1, "query-yank", {}, oob=True))
    assert told == [("refused", "5.2", "5.2", "The command query-yank has not been found")]
    told = _of(Asked(1, "query-status", {}, oob=True))
    assert told == [("error", "5.2", "11.1", "The command query-status does not support OOB")]


def test_out_of_band_in_a_journal() -> None:
    requests = [
        {"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}, "id": 0},
        {"exec-oob": "query-yank", "id": 1},
        {"exec-oob": "query-status", "id": 2},
    ]
    with qmpd.Machine() as vm:
        with vm.serve() as path, socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall("".join(map(json.dumps, requests)).encode())
            received = b""
            while received.count(b"\n") < 1 + len(requests):
                received += client.recv(65536)
        told = {f.command: (f.kind, f.why) for f in vm.journal.filter(monitor="served").lint()}
    assert told == {
        "query-yank": ("refused", "The command query-yank has not been found"),
        "query-status": ("error", "The command query-status does not support OOB"),
    }


def test_answers_to_what_is_no_request() -> None:
    """The answer after it is that of the request after it."""
    wrong: Line = ("client", {"no": "request", "id": 1})
    refusal: Line = ("server", {"error": {"class": "GenericError", "desc": "no"}, "id": 1})
    asked, answered = session(wrong, refusal, ask("query-name"), answer({"name": "vm"})).steps
    assert isinstance(answered, Answer)
    assert (answered.asked, answered.value) == (asked, {"name": "vm"})


def test_before_the_machine_is_made() -> None:
    lines = [ask("query-block"), answer([]), ask("x-exit-preconfig"), answer()]
    refused = [finding for finding in lint(session(*lines)) if finding.kind == "refused"]
    assert [(finding.versions, finding.why) for finding in refused] == [
        (("5.2",), "The command 'query-block' isn't permitted in 'preconfig' state"),
        (
            ("6.2",),
            "The command 'query-block' is permitted only after machine initialization has"
            " completed",
        ),
    ]
    for others in (lines[:2], [*lines[2:], *lines[:2]]):
        assert not any(finding.kind == "refused" for finding in lint(session(*others)))


def test_versions_that_do_not_follow_each_other() -> None:
    finding = Finding("refused", 1, "c", ("5.2", "6.2", "9.2", "10.2", "11.1"), "no")
    assert str(finding) == "1: c: refused by 5.2 to 6.2, 9.2, 10.2 to 11.1: no"


def test_versions() -> None:
    assert between("7.2", "9.2") == ("7.2", "8.2", "9.2")
    with pytest.raises(ValueError, match=r"there is no version 4\.2"):
        between("4.2")
    with pytest.raises(ValueError, match=r"10\.0 is newer than 7\.2"):
        between("10.0", "7.2")


def test_journal() -> None:
    with qmpd.Machine(disks={"d": "1M"}) as vm:
        vm.cmd("query-block")
        vm.cmd("blockdev-set-active", active=True, node_name="d")
        vm.hmp("info block")
        (finding,) = [each for each in vm.journal.lint("7.2") if each.kind == "refused"]
    assert isinstance(finding, Finding)
    assert str(finding).endswith(
        ": blockdev-set-active: refused by 7.2 to 9.2:"
        " The command blockdev-set-active has not been found"
    )
