"""``qmpd lint``: what is printed, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qmpd.cli.main import main
from qmpd.sim.lint.finding import KINDS

SOME = ("--only", "lacking,refused,deprecated,wait,ignored,error")
"""Without what rules of qmpd's have to say."""

BACKUP = {"device": "d", "target": "t", "sync": "full", "job-id": "j"}


@pytest.fixture
def recording(tmp_path: Path) -> str:
    messages: list[tuple[str, Any]] = [
        ("server", {"QMP": {}}),
        ("client", {"execute": "qmp_capabilities"}),
        ("server", {"return": {}}),
        ("client", {"exec-oob": "migrate-pause", "id": 1}),
        ("client", {"execute": "drive-backup", "arguments": BACKUP}),
        ("client", {"execute": 5}),
        ("client", []),
        ("server", {"return": {}}),
        ("server", {"error": {"class": "GenericError", "desc": "no request"}}),
        ("server", {"error": {"class": "GenericError", "desc": "no request"}}),
        ("client", {"execute": "job-dismiss", "arguments": {"id": "j"}}),
    ]
    lines: list[dict[str, object]] = [{"qmpd-recording": 1}]
    for side, message in messages:
        lines.append({"connection": 1, "time": 0.1, "from": side, "message": message})
    path = tmp_path / "session.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return str(path)


def test_for_people(recording: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", recording, "--from", "7.2", *SOME]) == 1
    assert capsys.readouterr().out == (
        "line 6: drive-backup: deprecated in 7.2 to 11.1: the command"
        " (Use blockdev-backup, with a node made by blockdev-add.)\n"
        "line 12: job-dismiss: may race: job 'j' was not seen to be concluded:"
        " JOB_STATUS_CHANGE tells (see 6)\n"
        "2 findings for 7.2 to 11.1\n"
    )


def test_only_some_kinds(recording: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", recording, "--to", "5.2", "--only", "deprecated,refused"]) == 0
    assert capsys.readouterr().out == "0 findings for 5.2\n"
    assert main(["lint", recording, "--only", "wait"]) == 1
    assert capsys.readouterr().out.endswith("\n1 finding for 5.2 to 11.1\n")


def test_for_programs(recording: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", recording, "--format", "json", *SOME]) == 1
    deprecated, wait = json.loads(capsys.readouterr().out)
    assert deprecated == {
        "kind": "deprecated",
        "place": 6,
        "command": "drive-backup",
        "versions": ["6.2", "7.2", "8.2", "9.2", "10.0", "10.2", "11.1"],
        "why": "the command",
        "instead": "Use blockdev-backup, with a node made by blockdev-add.",
        "source": None,
        "see": [],
        "rule": None,
        "times": 1,
    }
    assert (wait["kind"], wait["rule"], wait["see"]) == ("wait", "job-too-early", [6])


def test_sarif(recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs = tmp_path / "needs"
    needs.write_text("BlockInfo.qdev\nBlockDeviceInfo.active\n")
    assert main(["lint", recording, "--format", "sarif", "--needs", str(needs), *SOME]) == 1
    log = json.loads(capsys.readouterr().out)
    (run,) = log["runs"]
    assert (log["version"], run["tool"]["driver"]["name"]) == ("2.1.0", "qmpd lint")
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == list(KINDS)
    shown = []
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        file, line = place["artifactLocation"]["uri"], place["region"]["startLine"]
        shown.append((result["ruleId"], result["level"], file, line))
    assert shown == [
        ("lacking", "error", str(needs), 2),
        ("deprecated", "warning", recording, 6),
        ("wait", "warning", recording, 12),
    ]


def test_needs(recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs = tmp_path / "needs"
    needs.write_text("# read by the tool\nquery-block.return[].inserted.active\n")
    options = ["--needs", str(needs), "--only", "lacking"]
    assert main(["lint", recording, *options, "--from", "8.2"]) == 1
    assert capsys.readouterr().out == (
        f"{needs}, line 2: query-block.return[].inserted.active: lacking in 8.2 to 9.2:"
        " BlockDeviceInfo has no 'active' (SINCE_10_0)\n"
        "1 finding for 8.2 to 11.1\n"
    )
    assert main(["lint", recording, *options, "--from", "10.0"]) == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["none"], "Could not open 'none': No such file or directory"),
        (["FILE", "--needs", "none"], "Could not open 'none': No such file or directory"),
        (["FILE", "--from", "4.2"], "there is no version 4.2"),
        (["FILE", "--from", "9.2", "--to", "7.2"], "9.2 is newer than 7.2"),
        (["FILE", "--only", "bad"], "there is no kind 'bad' (there are: refused, lacking, "),
        (["FILE", "--needs", "FILE"], "'FILE', line 1: no version has '{\"qmpd-recording\": 1}'"),
    ],
)
def test_what_cannot_be(
    recording: str,
    options: list[str],
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["lint", *(recording if word == "FILE" else word for word in options)]) == 2
    assert capsys.readouterr().err.startswith(f"qmpd lint: {text.replace('FILE', recording)}")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["lint", "--help"])
    out = capsys.readouterr().out
    for kind in KINDS:
        assert f"\n  {kind} " in out
