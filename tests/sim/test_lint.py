"""Which versions refuse what a client sends, and what is deprecated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import qmpd
from qmpd.cli.main import main
from qmpd.profile.shipped import VERSIONS
from qmpd.sim.lint import Asked, Finding, between, lint

COMMON = {"device": "d", "target": "t", "sync": "full"}


def _told(command: str, **arguments: object) -> list[tuple[str, str, str, str]]:
    request = Asked(1, command, {name.replace("_", "-"): v for name, v in arguments.items()})
    return [(f.kind, f.versions[0], f.versions[-1], f.why) for f in lint([request])]


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


def test_what_none_has_is_the_clients_error() -> None:
    told = _told("block-dirty-bitmap-add", node="n")
    assert told == [("error", VERSIONS[0], VERSIONS[-1], "Parameter 'name' is missing")]
    assert _told("no-such-command")[0][0] == "error"


def test_the_same_is_told_once() -> None:
    requests = [Asked(place, "drive-backup", COMMON) for place in (3, 5)]
    assert [finding.place for finding in lint(requests)] == [3]


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
        (finding,) = vm.journal.lint("7.2")
    assert isinstance(finding, Finding)
    assert str(finding).endswith(
        ": blockdev-set-active: refused by 7.2 to 9.2:"
        " The command blockdev-set-active has not been found"
    )


@pytest.fixture
def recording(tmp_path: Path) -> str:
    messages = [
        {"QMP": {}},
        {"execute": "qmp_capabilities"},
        {"exec-oob": "migrate-pause"},
        {"execute": "drive-backup", "arguments": COMMON},
        {"execute": 5},
        [],
    ]
    lines: list[dict[str, object]] = [{"qmpd-recording": 1}]
    for number, message in enumerate(messages):
        side = "client" if number else "server"
        lines.append({"connection": 1, "time": 0.1, "from": side, "message": message})
    path = tmp_path / "session.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return str(path)


def test_program(recording: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", recording, "--to", "5.2"]) == 0
    assert capsys.readouterr().out == "0 findings for 5.2 to 5.2\n"
    assert main(["lint", recording, "--from", "7.2"]) == 1
    out = capsys.readouterr().out
    assert out == (
        "line 5: drive-backup: deprecated in 7.2 to 11.1: the command"
        " (Use blockdev-backup, with a node made by blockdev-add.)\n"
        "1 findings for 7.2 to 11.1\n"
    )
    assert main(["lint", recording, "--format", "json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)
    assert (finding["kind"], finding["place"]) == ("deprecated", 5)
    assert main(["lint", recording, "--format", "sarif"]) == 1
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    (result,) = run["results"]
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 5}


def test_program_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none")
    assert main(["lint", missing]) == 2
    assert capsys.readouterr().err == (
        f"qmpd lint: Could not open '{missing}': No such file or directory\n"
    )
