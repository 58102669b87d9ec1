"""Tests of unittest with a machine."""

from __future__ import annotations

import unittest
from typing import Any, ClassVar

import pytest

from qmpd.testing import MachineTestCase


class Case(MachineTestCase):
    __test__ = False  # it is run below
    qmpd = {"disks": {"d": "1M"}, "clock": "held"}

    def test_passes(self) -> None:
        self.vm.clock.advance(3)
        with self.machines(disks={"e": "2M"}) as other:
            assert other.disk("e").size == 2 << 20

    def test_fails(self) -> None:
        self.vm.cmd("stop")
        self.fail("on purpose")

    def test_leaves_a_fault(self) -> None:
        self.vm.faults.fail("pread", node="d", errno="EIO")

    def test_is_skipped(self) -> None:
        self.skipTest("why not")


class Wrong(MachineTestCase):
    __test__ = False
    qmpd: ClassVar[dict[str, Any]] = {"disk": {}}

    def test_it(self) -> None: ...


class Scheduled(MachineTestCase):
    __test__ = False
    qmpd: ClassVar[dict[str, Any]] = {"schedules": 5}

    def test_it(self) -> None: ...


def outcome(name: str) -> tuple[unittest.TestResult, Case]:
    case, result = Case(name), unittest.TestResult()
    case.run(result)
    assert case.vm.closed
    return result, case


def test_success() -> None:
    result, _ = outcome("test_passes")
    assert result.wasSuccessful()
    assert result.testsRun == 1


def test_failure_shows_the_journal() -> None:
    result, _ = outcome("test_fails")
    ((_, text),) = result.failures
    assert "on purpose" in text
    assert "journal of machine:\n" in text
    assert "program    <* STOP" in text


def test_leak() -> None:
    result, _ = outcome("test_leaves_a_fault")
    ((_, text),) = result.failures
    assert "machine: fault" in text
    assert "never struck" in text


def test_skip() -> None:
    result, _ = outcome("test_is_skipped")
    assert [reason for _, reason in result.skipped] == ["why not"]


def test_wrong_wishes() -> None:
    with pytest.raises(
        ValueError, match=r"Wrong\.qmpd: there is no argument 'disk'; it takes disks"
    ):
        Wrong("test_it").run()
    with pytest.raises(ValueError, match=r"Scheduled\.qmpd: there is no argument 'schedules'"):
        Scheduled("test_it").run()
