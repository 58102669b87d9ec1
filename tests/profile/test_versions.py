"""Machines of other versions than the default one, in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import qmpd
from qmpd import errors
from qmpd.cli.chosen_version import VARIABLE, chosen_profile
from qmpd.cli.main import main
from qmpd.cli.versions import entries
from qmpd.cli.versions_page import page
from qmpd.profile.shipped import VERSIONS, load
from tests.support.introspection import check_value

PAGE = Path(__file__).parents[2] / "docs" / "versions.md"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_machine_is_of_the_version_that_was_asked_for(version: str) -> None:
    with qmpd.Machine(version=version, disks={"d": "1M"}) as vm:
        found = vm.cmd("query-version")["qemu"]
        assert f"{found['major']}.{found['minor']}" == version
        names = {command["name"] for command in vm.cmd("query-commands")}
        assert ("x-blockdev-reopen" in names) == (version == "5.2")
        assert ("blockdev-set-active" in names) == (version in ("10.0", "10.2", "11.1"))


@pytest.mark.parametrize("version", VERSIONS)
def test_replies_are_of_the_types_of_the_version(version: str) -> None:
    profile = load(version)
    with qmpd.Machine(version=version, disks={"d": "1M", "t": "1M"}) as vm:
        vm.cmd("block-dirty-bitmap-add", node="d", name="b")
        vm.cmd("blockdev-mirror", job_id="j", device="d", target="t", sync="full")
        for name in (
            *("query-block", "query-named-block-nodes", "query-blockstats", "query-block-jobs"),
            *("query-jobs", "query-status", "query-qmp-schema", "x-debug-query-block-graph"),
            *("query-migrate-parameters", "query-migrate-capabilities", "query-iothreads"),
        ):
            returns = profile.entry_points.commands[name].returns
            assert returns is not None
            check_value(profile, returns, vm.cmd(name))


def _told(version: str, command: str, **arguments: Any) -> str:
    with qmpd.Machine(version=version, disks={"d": "1M"}) as vm:
        try:
            vm.cmd(command, **arguments)
        except errors.QmpError as error:
            return error.desc
    return ""


def test_machines_of_all_versions_live_in_one_process() -> None:
    told = {v: _told(v, "block-dirty-bitmap-add", node="x", name="b") for v in ("5.2", "7.2")}
    assert told == {
        "5.2": "Cannot find device=x nor node_name=x",
        "7.2": "Cannot find device='x' nor node-name='x'",
    }


def test_what_a_version_lacks_is_unexpected() -> None:
    arguments = {"device": "d", "bottom": "d", "job_id": "j"}
    assert _told("5.2", "block-stream", **arguments) == "Parameter 'bottom' is unexpected"
    assert _told("5.2", "blockdev-reopen") == "The command blockdev-reopen has not been found"


def test_nothing_that_only_another_version_has_is_ignored() -> None:
    told = _told("11.1", "blockdev-add", driver="io_uring", node_name="u", filename="f")
    assert told == "'io_uring' of BlockdevDriver is not served by qmpd yet"
    rule = {"event": "read_aio", "delay-ns": 1}
    blkdebug = {"driver": "blkdebug", "node_name": "b", "image": "d", "inject_error": [rule]}
    told = _told("11.1", "blockdev-add", **blkdebug)
    assert told == "'delay-ns' of BlkdebugInjectErrorOptions is not served by qmpd yet"
    assert _told("7.2", "migrate", uri="exec:true", blk=True) == (
        "'blk' of MigrateArguments is not served by qmpd yet"
    )


def test_commands_that_only_5_2_has() -> None:
    with qmpd.Machine(version="5.2", disks={"d": "1M"}) as vm:
        with pytest.raises(errors.GenericError, match="no longer supported"):
            vm.cmd("block_passwd", node_name="d", password="x")
        assert {"name": "JOB_STATUS_CHANGE"} in vm.cmd("query-events")
        vm.cmd("migrate_set_speed", value=5000)
        assert vm.cmd("query-migrate-parameters")["max-bandwidth"] == 5000
        with pytest.raises(errors.GenericError, match="in the range of 0 to 2000 seconds"):
            vm.cmd("migrate_set_downtime", value=2001)
        assert vm.cmd("query-migrate-cache-size") == 64 << 20
        vm.cmd("blockdev-add", driver="null-co", node_name="n")
        vm.cmd("x-blockdev-reopen", driver="null-co", node_name="n", read_only=True)
        (node,) = [n for n in vm.cmd("query-named-block-nodes") if n["node-name"] == "n"]
        assert node["ro"]
        vm.cmd("object-add", qom_type="throttle-group", id="g", props={"x-iops-total": 5})
        with pytest.raises(errors.GenericError, match="Parameter 'id' is missing"):
            vm.cmd("object-add", qom_type="iothread")


def test_members_that_later_versions_do_not_tell() -> None:
    with qmpd.Machine(version="5.2", disks={"d": "1M"}) as vm:
        vm.cmd("block-dirty-bitmap-add", node="d", name="b", disabled=True)
        (info,) = vm.cmd("query-block")
        assert [bitmap["status"] for bitmap in info["dirty-bitmaps"]] == ["disabled"]
        assert info["inserted"]["encryption_key_missing"] is False
        assert vm.cmd("query-status")["singlestep"] is False


def test_a_program_is_a_version_by_its_name_or_by_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert chosen_profile("qemu-system-x86_64").name == "10.0"
    assert chosen_profile("qemu-system-x86_64-7.2").name == "7.2"
    monkeypatch.setenv(VARIABLE, "5.2")
    assert chosen_profile("qmpd-system").name == "5.2"
    assert chosen_profile("qemu-storage-daemon-11.1").name == "11.1"
    monkeypatch.setenv(VARIABLE, "4.2")
    with pytest.raises(errors.GenericError, match=r"^QMPD_VERSION: there is no profile '4\.2' "):
        chosen_profile("qmpd-system")


def test_versions_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["versions"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(VERSIONS)
    assert "behaves as 7.2, not measured" in lines[1]


def test_the_page_of_versions_is_current() -> None:
    told = "run `qmpd versions --page docs/versions.md`"
    assert page(entries()) == PAGE.read_text(encoding="utf-8"), told
