"""The summary at the end of a run of pytest, by tests that are run with it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from qmpd.testing.lint_plugin import LintPlugin
from tests.testing.test_plugin import run

pytest_plugins = ["pytester"]

CODE = """
import pytest
import qmpd
from qmpd.testing import MachineTestCase

@pytest.mark.parametrize("n", range(2))
def test_active(qmpd_machine, n):
    qmpd_machine.cmd("blockdev-set-active", node_name="disk0", active=True)

def test_of_no_machine():
    pass

def test_impatient(qmpd_factory):
    with qmpd_factory(disks={"d": "1M", "t": "1M"}, clock="held") as vm:
        vm.disk("d").write(0, b"x" * (1 << 20))
        mirror = {"device": "d", "target": "t", "sync": "full", "job-id": "j", "speed": 65536}
        vm.cmd("blockdev-mirror", mirror)
        with pytest.raises(qmpd.errors.GenericError):
            vm.cmd("job-complete", id="j")
        vm.cmd("job-cancel", id="j")

class TestCase(MachineTestCase):
    def test_active(self):
        self.vm.cmd("blockdev-set-active", node_name="disk0", active=True)
"""

SUMMARY = [
    "*= qmpd lint: 7.2 to 11.1 =*",
    "blockdev-set-active: refused by 7.2 to 9.2: The command blockdev-set-active has not been"
    " found (3 times)",
    "    *.py::TestCase::test_active, entry *, and 2 more tests",
    "job-complete: may race: job 'j' was not seen to be ready: BLOCK_JOB_READY (or"
    " JOB_STATUS_CHANGE) tells (see *)",
    "    *.py::test_impatient, entry *",
    # rules of qmpd's about mirrors may have more to say
    "* findings",
]


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_summary(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    done = run(pytester, CODE, "--qmpd-lint", "--qmpd-lint-versions=7.2..", *options)
    done.assert_outcomes(passed=5)
    done.stdout.fnmatch_lines(SUMMARY)


def test_settings_and_files(pytester: pytest.Pytester) -> None:
    pytester.makefile(".txt", needs="BlockInfo.qdev\nBlockDeviceInfo.active\n")
    pytester.makeini(
        "[pytest]\nqmpd_lint = true\nqmpd_lint_versions = ..9.2\n"
        "qmpd_lint_needs = needs.txt\nqmpd_lint_file = found.json\n"
    )
    done = run(pytester, CODE, "-k", "test_active")
    done.stdout.fnmatch_lines(
        [
            "*= qmpd lint: 5.2 to 9.2 =*",
            "blockdev-set-active: refused by 5.2 to 9.2: *",
            "    *::TestCase::test_active, entry *, and 2 more tests",
        ]
    )
    done.stdout.fnmatch_lines(
        ["BlockDeviceInfo.active: lacking in 5.2 to 9.2: *", "    needs.txt, line 2"]
    )
    found = json.loads(Path("found.json").read_text("utf-8"))
    assert [(each["kind"], each["file"], each["times"]) for each in found] == [
        ("refused", "test_settings_and_files.py", 3),
        ("lacking", "needs.txt", 1),
    ]
    assert found[0]["test"] == "test_settings_and_files.py::TestCase::test_active"

    run(pytester, CODE, "-k", "test_active", "--qmpd-lint-file=found.sarif")
    _, result = json.loads(Path("found.sarif").read_text("utf-8"))["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "needs.txt"
    assert (result["ruleId"], place["region"]["startLine"]) == ("lacking", 2)


def test_nothing_without_it(pytester: pytest.Pytester) -> None:
    done = run(pytester, CODE, "-k", "test_active", "--qmpd-lint-file=found.json")
    assert "qmpd lint" not in done.stdout.str()
    assert not Path("found.json").exists()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (("4.2..", "", ""), "there is no version 4.2"),
        (("", "none", ""), "Could not open 'none': No such file or directory"),
        (("", "", "a.txt"), "'a.txt' ends neither in .json nor in .sarif"),
    ],
)
def test_what_cannot_be(given: tuple[str, str, str], text: str) -> None:
    with pytest.raises(pytest.UsageError, match=f"qmpd lint: {re.escape(text)}"):
        LintPlugin(*given, pytest.StashKey())
