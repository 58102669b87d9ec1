"""What a client needs to be told, and the versions that do not tell it."""

from __future__ import annotations

import pytest

import qmpd
from qmpd.profile.shipped import VERSIONS
from qmpd.sim.lint import Session, between, lint
from qmpd.sim.lint.needs import read_needs


def _lacking(path: str) -> list[tuple[tuple[str, ...], str, str | None]]:
    findings = lint(Session(), VERSIONS, read_needs([path]))
    return [(finding.versions, finding.why, finding.source) for finding in findings]


@pytest.mark.parametrize(
    "path",
    [
        "query-block",
        "set_password",
        "BLOCK_JOB_COMPLETED.data.error",
        "query-block-jobs.return[].auto-finalize",
        "query-block-jobs.return.auto-finalize",
        "BlockInfo.qdev",
        "BlockInfo.inserted.node-name",
        "JobStatus.concluded",
        "blockdev-add.node-name",
        "BlockdevOptions.overlap-check.template",
        "transaction.actions[].type",
        "query-named-block-nodes.return[].image.backing-image.filename",
    ],
)
def test_what_all_have(path: str) -> None:
    assert _lacking(path) == []


@pytest.mark.parametrize(
    ("path", "versions", "why", "source"),
    [
        (
            "query-block.return[].inserted.active",
            between("5.2", "9.2"),
            "BlockDeviceInfo has no 'active'",
            "SINCE_10_0",
        ),
        (
            "query-block-jobs.return[].actively-synced",
            between("5.2", "7.2"),
            "the answer of query-block-jobs has no 'actively-synced'",
            "SINCE_8_2",
        ),
        (
            "blockdev-backup.discard-source",
            between("5.2", "8.2"),
            "blockdev-backup has no 'discard-source'",
            "SINCE_9_1",
        ),
        (
            "BlockDirtyInfo.status",
            between("6.2"),
            "BlockDirtyInfo has no 'status'",
            "not SINCE_6_0",
        ),
        (
            "BlockdevDriver.snapshot-access",
            between("5.2", "6.2"),
            "BlockdevDriver has no 'snapshot-access'",
            "SINCE_7_0",
        ),
        ("blockdev-reopen", ("5.2",), "there is no 'blockdev-reopen'", "SINCE_6_1"),
        (
            "x-blockdev-reopen",
            between("6.2"),
            "there is no 'x-blockdev-reopen'",
            "not SINCE_6_1",
        ),
    ],
)
def test_what_some_lack(path: str, versions: tuple[str, ...], why: str, source: str) -> None:
    assert _lacking(path) == [(versions, why, source)]


def test_a_list() -> None:
    needs = read_needs(["# what the tool reads", "", "BlockInfo.qdev  # the device", "query-jobs"])
    assert [tuple(need) for need in needs] == [(3, "BlockInfo.qdev"), (4, "query-jobs")]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("BlockInfo.nope", "BlockInfo has no 'nope'"),
        ("query-block.return[].inserted.nope", "BlockDeviceInfo has no 'nope'"),
        ("query-bloc", "there is no 'query-bloc'; did you mean query-block"),
        ("BlockInfo.device.more", "str has no 'more'"),
        ("set_password.protocol", "qmpd's schema does not have 'set_password'"),
        ("query-block.return.", "the answer of query-block has no ''"),
    ],
)
def test_what_no_version_has(path: str, why: str) -> None:
    with pytest.raises(ValueError, match="no version has") as caught:
        read_needs(["query-block", path])
    assert str(caught.value).startswith(f"line 2: no version has '{path}': {why}")


def test_in_a_program() -> None:
    with qmpd.Machine() as vm:
        (finding,) = vm.journal.lint("7.2", needs=["BlockDeviceInfo.active"])
    assert finding.text == (
        "BlockDeviceInfo.active: lacking in 7.2 to 9.2:"
        " BlockDeviceInfo has no 'active' (SINCE_10_0)"
    )
