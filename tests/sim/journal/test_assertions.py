"""Assertions on the journal, and what they say when they fail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

import qmpd
from qmpd.testing import ANY, Exactly, matches


@pytest.fixture
def vm() -> Iterator[qmpd.Machine]:
    with qmpd.Machine(disks={"disk0": "1M"}) as machine:
        machine.cmd("block-dirty-bitmap-add", node="disk0", name="b0", granularity=65536)
        machine.cmd("block-dirty-bitmap-add", node="disk0", name="b1")
        machine.cmd("stop")
        machine.qmp("block-dirty-bitmap-remove", node="disk0", name="b2")
        yield machine


def complaint(check: object, *args: object, **keywords: object) -> str:
    assert callable(check)
    with pytest.raises(AssertionError) as caught:
        check(*args, **keywords)
    return str(caught.value)


def test_called(vm: qmpd.Machine) -> None:
    journal, add = vm.journal, "block-dirty-bitmap-add"
    journal.assert_called("stop")
    journal.assert_called(add, times=2)
    journal.assert_called(add, times=lambda count: count > 1)
    journal.assert_called(add, arguments={"name": "b0"}, times=1)
    journal.assert_called(add, arguments={"name": re.compile("^b")}, times=2)
    journal.assert_called(add, arguments=Exactly({"node": "disk0", "name": "b1"}), times=1)
    journal.assert_called(add, arguments=lambda arguments: "granularity" in arguments, times=1)
    journal.assert_called(add, arguments={"node": ANY, "granularity": mock.ANY}, times=1)
    journal.assert_not_called("quit")
    journal.assert_not_called(add, arguments={"name": "b2"})
    journal.filter(monitor="program").assert_called("stop")
    journal.since(journal.mark()).assert_not_called("stop")


def test_what_a_missing_call_shows(vm: qmpd.Machine) -> None:
    add = "block-dirty-bitmap-add"
    text = complaint(vm.journal.assert_called, add, arguments={"name": "b2"})
    first, *lines = text.splitlines()
    assert first == f"{add} was never called with {{'name': 'b2'}}:"
    assert lines[0].endswith(f"-> {add} node=disk0 name=b0 granularity=65536")
    assert lines[1].endswith(f"-> {add} node=disk0 name=b1")
    assert lines[2] == "the last that happened:"
    assert "Dirty bitmap 'b2' not found" in lines[-1]
    text = complaint(vm.journal.assert_called, add, times=3)
    assert text.startswith(f"{add} was called twice, not 3 times:")
    text = complaint(vm.journal.assert_not_called, "stop")
    assert text.startswith("stop was called once, not 0 times:")
    assert complaint(vm.journal.assert_called, "cont").startswith("cont was never called\nthe last")


def test_order(vm: qmpd.Machine) -> None:
    journal = vm.journal
    journal.assert_order("block-dirty-bitmap-add", "block-dirty-bitmap-add", "stop", "STOP")
    journal.assert_order(("block-dirty-bitmap-add", {"name": "b1"}), ("STOP", {}))
    journal.assert_order({"kind": "event"}, {"kind": "answer", "error": {"class": "GenericError"}})
    journal.assert_order(lambda entry: entry.command == "stop" and entry.value == {})
    text = complaint(journal.assert_order, "stop", ("block-dirty-bitmap-add", {"name": "b0"}))
    assert text.splitlines()[0] == (
        "('block-dirty-bitmap-add', {'name': 'b0'}) did not happen after 'stop':"
    )
    assert text.splitlines()[1].endswith("-> stop")
    assert complaint(journal.assert_order, "RESUME").startswith("'RESUME' did not happen\n")
    with pytest.raises(ValueError, match="no member 'name'; they have number, time, kind"):
        journal.assert_order({"name": "stop"})
    wrong: Any = 5
    with pytest.raises(TypeError, match="5 is no name, no pair"):
        journal.assert_order(wrong)


def test_errors(vm: qmpd.Machine) -> None:
    journal = vm.journal
    (error,) = journal.unexpected_errors()
    assert error.command == "block-dirty-bitmap-remove"
    assert journal.unexpected_errors("block-dirty-bitmap-remove") == []
    expected = ("block-dirty-bitmap-remove", {"desc": re.compile("not found")})
    journal.assert_no_errors(expected)
    other = ("block-dirty-bitmap-remove", {"class": "DeviceNotFound"})
    text = complaint(journal.assert_no_errors, other, "STOP")
    assert text.startswith("nothing was expected to fail, but this did:\n")
    assert "Dirty bitmap 'b2' not found" in text.splitlines()[1]


def test_events_that_tell_of_errors() -> None:
    with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        inject = [{"event": "pwritev", "errno": 5}]
        below = {"driver": "null-co", "size": 1 << 20}
        vm.cmd(
            "blockdev-add",
            {"driver": "blkdebug", "node-name": "t", "image": below, "inject-error": inject},
        )
        vm.disk("disk0").write(0, b"x")
        vm.cmd("blockdev-backup", job_id="j", device="disk0", target="t", sync="full")
        vm.event_wait("BLOCK_JOB_COMPLETED")
        failed = [entry.event for entry in vm.journal.unexpected_errors()]
        assert failed == ["BLOCK_JOB_ERROR", "BLOCK_JOB_COMPLETED"]
        vm.journal.assert_no_errors("BLOCK_JOB_ERROR", ("BLOCK_JOB_COMPLETED", {"device": "j"}))


def test_matching() -> None:
    assert matches({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}})
    assert not matches({"a": 1}, {"a": 1, "b": ANY})
    assert matches([{"a": 1, "b": 2}], [{"a": 1}])
    assert not matches([1, 2], [1])
    assert matches(None, None)
    assert not matches(5, None)
    assert not matches(True, 1)
    assert not matches(1, True)
    assert matches(5, ANY)
    assert matches("x", lambda text: text == "x")
    assert not matches({"a": 1, "b": 2}, Exactly({"a": 1}))
    assert not matches(5, re.compile("5"))
    assert repr(ANY) == "ANY"
    assert repr(Exactly(1)) == "Exactly(1)"
