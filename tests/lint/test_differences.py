"""What versions answer otherwise, with the rule or the condition that says so."""

from __future__ import annotations

from typing import Any

import pytest

import qmpd
from qmpd.profile.shipped import VERSIONS
from qmpd.sim.lint import Finding, between, lint
from tests.lint.sessions import Line, answer, ask, error, event, session

NODE = {"node-name": "n", "active": True, "drv": "raw", "file": "f", "ro": False}
BITMAP = {"name": "b", "busy": False, "recording": True, "persistent": False, "count": 0}


def _told(*lines: Line, versions: tuple[str, ...] = VERSIONS) -> list[Finding]:
    findings = lint(session(*lines), versions)
    return [finding for finding in findings if finding.kind == "otherwise"]


def _of(findings: list[Finding], word: str) -> tuple[tuple[str, ...], str | None]:
    (finding,) = [finding for finding in findings if word in f"{finding.why} {finding.source}"]
    return finding.versions, finding.source


def test_members_that_versions_do_not_have() -> None:
    told = _told(ask("query-named-block-nodes"), answer([NODE]))
    assert _of(told, "its answer has no BlockDeviceInfo.active") == (
        between("5.2", "9.2"),
        "SINCE_10_0",
    )


def test_values_that_versions_do_not_have() -> None:
    info = {"filename": "f", "format": "file", "virtual-size": 1, "format-specific": {}}
    info["format-specific"] = {"type": "file", "data": {"extent-size-hint": 1}}
    told = _told(ask("query-named-block-nodes"), answer([{**NODE, "image": info}]))
    assert _of(told, "ImageInfoSpecific") == (between("5.2", "7.2"), "SINCE_8_0")


def test_members_of_a_branch() -> None:
    job = {"device": "j", "type": "mirror", "status": "ready", "actively-synced": False}
    told = _told(ask("query-block-jobs"), answer([job]))
    assert _of(told, "actively-synced") == (between("5.2", "7.2"), "SINCE_8_2")
    assert _told(ask("query-block-jobs"), answer([{**job, "type": "backup"}])) == []


def test_what_no_version_has_is_another_programs() -> None:
    assert _told(ask("query-name"), answer({"of-my-own": 1})) == []


def test_rules_about_members() -> None:
    told = _told(ask("query-block"), answer([{"device": "", "inserted": NODE}]))
    assert _of(told, "encryption-key") == (
        ("5.2",),
        "rule encryption-key: removed-features.rst: removed in 6.0",
    )
    assert not any("bitmap-status" in str(finding.source) for finding in told)
    node: dict[str, Any] = {**NODE, "dirty-bitmaps": [BITMAP]}
    told = _told(ask("query-block"), answer([{"device": "", "inserted": node}]))
    assert _of(told, "bitmap-status")[0] == _of(told, "bitmaps-of-a-device")[0] == ("5.2",)


def test_objects_that_are_not_whole() -> None:
    node = {**NODE, "dirty-bitmaps": [{"name": "b"}]}
    told = _told(ask("query-block"), answer([{"device": "", "inserted": node}]))
    assert not any("bitmap-status" in str(finding.source) for finding in told)


def test_rules_about_words() -> None:
    lines = [ask("blockdev-del", node_name="n"), error("Failed to find node with node-name='n'")]
    (finding,) = _told(*lines)
    assert finding.text == (
        "blockdev-del: otherwise in 5.2: the error is 'Cannot find node n'"
        " (rule find-node: seen on 5.2, not on 7.2)"
    )
    # recorded with 5.2
    (finding,) = _told(lines[0], error("Cannot find node n"))
    assert (finding.versions, finding.why) == (
        ("5.2",),
        "the error has the words recorded, and others elsewhere",
    )
    assert _told(*lines, versions=("5.2",)) == _told(*lines, versions=("7.2", "10.0")) == []


def test_words_of_errors_of_jobs() -> None:
    job = {"id": "j", "type": "create", "status": "concluded", "current-progress": 1}
    job |= {"total-progress": 1, "error": "Cannot find device='f' nor node-name='f'"}
    told = _told(ask("query-jobs"), answer([job]))
    assert [(finding.versions, finding.why) for finding in told] == [
        (("5.2",), "the error told is 'Cannot find device=f nor node_name=f'")
    ]


def test_what_was_recorded_counts() -> None:
    qemu = {"major": 10, "minor": 1, "micro": 0}
    greeting: Line = ("server", {"QMP": {"version": {"qemu": qemu}, "capabilities": []}})
    lines = [ask("blockdev-del", node_name="n"), error("Failed to find node with node-name='n'")]
    (finding,) = _told(greeting, *lines, versions=("5.2",))
    assert finding.versions == ("5.2",)
    assert _told(greeting, *lines, versions=("7.2", "10.0")) == []
    told = _told(greeting, ask("query-named-block-nodes"), answer([NODE]), versions=("7.2", "8.2"))
    assert _of(told, "BlockDeviceInfo.active")[0] == ("7.2", "8.2")


def test_rules_about_arguments() -> None:
    actions: list[Any] = []
    grouped = ask("transaction", actions=actions, properties={"completion-mode": "grouped"})
    told = _told(grouped, answer())
    # 8.2 was not measured, and behaves as 7.2
    assert _of(told, "transactions-go-in-their-order")[0] == between("5.2", "8.2")
    plain = _told(ask("transaction", actions=actions), answer())
    assert not any("transactions-go-in-their-order" in str(each.source) for each in plain)


def test_the_human_monitor() -> None:
    sgx = ask("human-monitor-command", **{"command-line": "info sgx -x"})
    (finding,) = _told(sgx, answer("no sgx"))
    assert (finding.versions, finding.why) == (("5.2",), "the human monitor has no 'info sgx'")
    usb = ask("human-monitor-command", **{"command-line": "info usb"})
    (finding,) = _told(usb, answer("Error: USB support not enabled\r\n"))
    assert finding.versions == ("5.2",)
    assert _told(ask("human-monitor-command", **{"command-line": "info block"}), answer("")) == []


def test_events() -> None:
    told = _told(event("NETDEV_STREAM_CONNECTED", **{"netdev-id": "n", "addr": {}}))
    assert _of(told, "there is no such event")[0] == ("5.2", "6.2")
    assert _told(event("NO_SUCH_EVENT")) == []


@pytest.mark.parametrize("version", ["5.2", "7.2", "10.0"])
def test_in_a_program(version: str) -> None:
    """The version asked is none of those that differ from it."""
    with qmpd.Machine(disks={"d": "1M"}, version=version) as vm:
        vm.cmd("query-named-block-nodes")
        with pytest.raises(qmpd.errors.GenericError):
            vm.cmd("blockdev-del", node_name="nope")
        findings = vm.journal.lint(version, version)
        differ = vm.journal.lint()
    assert findings == []
    assert any(finding.kind == "otherwise" for finding in differ)
