"""The plugin of pytest, by tests that are run by it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from qmpd.testing.real import find_qemu
from tests.support.programs import qemu_missing

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """In CI pytest repeats at the end, in full, what it has said of failures."""
    monkeypatch.delenv("CI", raising=False)


def run(pytester: pytest.Pytester, code: str, *options: str) -> pytest.RunResult:
    """Run tests, without what the project's own tests are run with."""
    pytester.makepyfile(code)
    plain = ("-p", "no:cacheprovider", "-p", "no:cov")
    scope = ("-o", "asyncio_default_fixture_loop_scope=function")
    # in the same process pytester would import modules of qmpd anew beside those that are there
    return pytester.runpytest_subprocess(*plain, *scope, *options)


def test_fixtures(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        import socket
        import qmpd
        import pytest

        def test_a_machine(qmpd_machine):
            assert isinstance(qmpd_machine, qmpd.Machine)
            qmpd_machine.disk("disk0").write(0, b"x")
            assert qmpd_machine.disk("disk0").size == 64 << 20

        def test_a_server(qmpd_server):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(qmpd_server.path)
                assert client.recv(8) == b'{"QMP": '
            assert qmpd_server.machine.cmd("query-status")["running"]

        def test_a_factory(qmpd_factory):
            with qmpd_factory() as one, qmpd_factory(disks={"other": "1M"}, paused=True) as two:
                assert set(one.nodes) > {"disk0"}
                assert two.cmd("query-status")["status"] == "prelaunch"
                assert "other" in two.nodes

        def test_a_clock(qmpd_clock, qmpd_machine):
            before = qmpd_clock.now
            qmpd_clock.advance(5)
            assert qmpd_machine.clock.now == before + 5
            with pytest.raises(qmpd.errors.WaitsForever):
                qmpd_machine.event_wait("STOP", timeout=10)

        def test_one_for_all(qmpd_qemu):
            qmpd_qemu.cmd("block-dirty-bitmap-add", node="disk0", name="b0")
            with pytest.raises(qmpd.errors.GenericError):
                qmpd_qemu.cmd("block-dirty-bitmap-add", node="disk0", name="b0")
        """,
    )
    done.assert_outcomes(passed=5)


def test_the_marker(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        import pytest

        pytestmark = pytest.mark.qmpd(disks={"a": "1M"}, seed=7)

        @pytest.mark.qmpd(disks={"b": "2M"}, clock="held")
        def test_the_nearest_counts(qmpd_machine, qmpd_factory):
            assert qmpd_machine.disk("b").size == 2 << 20
            assert "a" not in qmpd_machine.nodes
            with qmpd_factory() as other:
                assert other.disk("b").size == 2 << 20
                # a seed makes names and dates the same
                assert sorted(other.nodes) == sorted(qmpd_machine.nodes)

        @pytest.mark.qmpd(images={"a": "a.qcow2,format=qcow2,size=1M"}, disks={},
                          version="10.0", storage="memory", personality="storage-daemon")
        def test_everything(qmpd_machine):
            assert qmpd_machine.nodes["a"]["drv"] == "qcow2"
            assert qmpd_machine.qmp("query-status")["error"]["class"] == "CommandNotFound"
        """,
        "--strict-markers",
    )
    done.assert_outcomes(passed=2)


def test_a_wrong_marker_names_what_there_is(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        import pytest

        @pytest.mark.qmpd(disk={"a": "1M"})
        def test_name(qmpd_machine):
            pass

        @pytest.mark.qmpd({"a": "1M"})
        def test_no_name():
            pass

        @pytest.mark.qmpd(seed="seven")
        def test_seed(qmpd_machine):
            pass

        @pytest.mark.qmpd(schedules="many")
        def test_schedules(qmpd_machine):
            pass

        @pytest.mark.qmpd(allow="everything")
        def test_allow(qmpd_machine):
            pass

        @pytest.mark.qmpd(storage="cloud")
        def test_storage(qmpd_machine):
            pass

        @pytest.mark.qmpd(version="1.0")
        def test_version(qmpd_machine):
            pass

        @pytest.mark.qmpd(versions=["5.2", "1.0"])
        def test_versions(qmpd_machine):
            pass
        """,
    )
    done.assert_outcomes(errors=9)
    done.stdout.fnmatch_lines_random(
        [
            "*marker qmpd: there is no argument 'disk'; it takes disks, images, *",
            "*marker qmpd: its arguments have names, as in qmpd(disks={...})",
            "*marker qmpd: seed is a whole number, not 'seven'",
            "*marker qmpd: schedules is how many, at least 1, not 'many'",
            "*marker qmpd: allow takes open, jobs, faults, not 'everything'",
            "*there is no storage 'cloud'; it is one of 'memory', *",
            "*there is no profile '1.0' (there are: *",
            "*marker qmpd: versions takes 5.2, *, not '1.0'",
        ]
    )


SCHEDULES = """
import pytest

@pytest.mark.qmpd(disks={"a": "1M", "b": "1M", "c": "1M", "d": "1M"}, schedules=10)
def test_which_job_ends_first(qmpd_machine, qmpd_schedule):
    jobs = (("j0", "a", "b"), ("j1", "c", "d"))
    for job, device, target in jobs:
        qmpd_machine.cmd("blockdev-backup", job_id=job, device=device, target=target, sync="full")
    ended = [qmpd_machine.event_wait("BLOCK_JOB_COMPLETED")["data"]["device"] for _ in jobs]
    print("first", ended[0])
    assert qmpd_schedule != 7

@pytest.mark.qmpd(schedules=3)
class TestOthers:
    def test_each(self, qmpd_factory):
        with qmpd_factory() as vm:
            vm.cmd("stop")

    def test_once(self):
        pass
"""


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_schedules(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    done = run(pytester, SCHEDULES, *options)
    done.assert_outcomes(passed=9 + 3 + 1, failed=1)
    done.stdout.fnmatch_lines(["FAILED *test_which_job_ends_first?schedule7?*"])


VERSIONS = """
import pytest

@pytest.mark.qmpd(versions=["5.2", "11.1"])
def test_each(qmpd_machine, qmpd_factory):
    major = qmpd_machine.cmd("query-version")["qemu"]["major"]
    with qmpd_factory() as other:
        assert other.cmd("query-version")["qemu"]["major"] == major
    assert major == 5

@pytest.mark.qmpd(version="7.2")
def test_one(qmpd_machine):
    assert qmpd_machine.cmd("query-version")["qemu"]["major"] == 7

def test_what_is_asked_for(qmpd_machine):
    qmpd_machine.cmd("stop")
"""


def test_versions(pytester: pytest.Pytester) -> None:
    done = run(pytester, VERSIONS)
    done.assert_outcomes(passed=1 + 1 + 1, failed=1)
    done.stdout.fnmatch_lines(["FAILED *test_each?v11.1?*"])
    done = run(pytester, VERSIONS, "--qmpd-versions", "6.2,8.2,10.0", "-k", "not each")
    done.assert_outcomes(passed=1 + 3, deselected=2)


FAILING = """
def test_fails(qmpd_machine, qmpd_factory):
    qmpd_machine.disk("disk0").write(0, b"x")
    with qmpd_factory() as other:
        other.cmd("stop")
    qmpd_machine.qmp("blockdev-del", node_name="nope")
    assert False

def test_passes(qmpd_machine):
    qmpd_machine.cmd("stop")
"""


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_failing_test_shows_its_journals(
    pytester: pytest.Pytester, options: tuple[str, ...]
) -> None:
    done = run(pytester, FAILING, *options)
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(
        [
            "*- qmpd journal: machine -*",
            "*guest      -- write disk=disk0 offset=0 length=1",
            "*program    -> blockdev-del node-name=nope",
            "*program    <- blockdev-del: GenericError: Failed to find node*",
            "*- qmpd journal: machine 2 -*",
            "*program    <[*] STOP",
            "*machine    -- closed",
        ]
    )
    assert str(done.stdout).count("qmpd journal") == 2


LEAKS = """
import pytest
import qmpd

def test_open(qmpd_factory):
    qmpd_factory()

def backup(vm):
    vm.cmd("blockdev-add", driver="null-co", node_name="t", size=64 << 20)
    vm.cmd("blockdev-backup", job_id="j", device="disk0", target="t", sync="full",
           auto_dismiss=False)
    vm.job("j").wait()

def test_job(qmpd_machine):
    backup(qmpd_machine)

def test_fault(qmpd_machine):
    qmpd_machine.faults.fail("pread", node="disk0", errno="EIO")

def test_removed_fault(qmpd_machine):
    with qmpd_machine.faults.fail("flush", node="disk0", errno="EIO"):
        qmpd_machine.disk("disk0").read(0, 1)

def test_nothing_is_left(qmpd_machine, qmpd_factory):
    with qmpd_factory() as other:
        backup(other)
    backup(qmpd_machine)
    qmpd_machine.cmd("job-dismiss", id="j")
    with qmpd_machine.faults.fail("pread", node="disk0", errno="EIO"):
        with pytest.raises(qmpd.errors.BlockIOError):
            qmpd_machine.disk("disk0").read(0, 1)

@pytest.mark.qmpd(allow=["open", "jobs", "faults"])
def test_allowed(qmpd_machine, qmpd_factory):
    backup(qmpd_machine)
    backup(qmpd_factory())
    qmpd_machine.faults.fail("pread", node="disk0", errno="EIO")

@pytest.mark.qmpd(allow="faults")
def test_something_else_is_allowed(qmpd_machine):
    backup(qmpd_machine)

def test_fails_anyway(qmpd_machine):
    backup(qmpd_machine)
    assert False, "of its own"
"""


def test_leaks(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        LEAKS,
    )
    done.assert_outcomes(passed=2, failed=6)
    done.stdout.fnmatch_lines_random(
        [
            "the test has left something behind:",
            "machine was not closed",
            "machine: job 'j' (backup) is concluded",
            "machine: fault *pread*disk0*EIO* never struck",
            "machine: fault *flush*disk0*EIO* never struck",
        ]
    )
    assert str(done.stdout).count("machine: job 'j' (backup) is concluded") == 2


ASYNC = """
import asyncio
import pytest
from qemu.qmp import QMPClient
{mark}
async def test_a_client(qmpd_server):
    client = QMPClient("test")
    await client.connect(qmpd_server.path)
    await client.execute("stop")
    await client.disconnect()
    qmpd_server.machine.journal.filter(monitor="served").assert_order("stop", "STOP")
{mark}
async def test_on_the_loop(qmpd_factory):
    async with qmpd_factory.aio(disks={{"a": "1M"}}) as vm:
        await asyncio.gather(vm.cmd("stop"), vm.event_wait("STOP"))
{mark}
async def test_fails(qmpd_factory):
    async with qmpd_factory.aio() as vm:
        await vm.cmd("stop")
    assert False
{mark}
async def test_leaves_something(qmpd_factory):
    await qmpd_factory.aio().__aenter__()
"""


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_with_pytest_asyncio(pytester: pytest.Pytester, mode: str) -> None:
    mark = "@pytest.mark.asyncio" if mode == "strict" else ""
    code = ASYNC.format(mark=mark)
    done = run(pytester, code, f"--asyncio-mode={mode}")
    done.assert_outcomes(passed=2, failed=2)
    done.stdout.fnmatch_lines(["*qmpd journal: machine*", "*program    -> stop"])
    done.stdout.fnmatch_lines(["machine was not closed"])


def test_unittest_under_pytest(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        import unittest
        from qmpd.testing import MachineTestCase

        class TestIt(MachineTestCase):
            qmpd = {"disks": {"d": "1M"}}

            def test_passes(self):
                self.vm.disk("d").write(0, b"x")

            def test_fails(self):
                self.vm.cmd("stop")
                self.fail("on purpose")

            def test_leaves_something(self):
                self.machines()

            @unittest.skip("why not")
            def test_skipped(self):
                pass
        """,
    )
    done.assert_outcomes(passed=1, failed=2, skipped=1)
    done.stdout.fnmatch_lines_random(
        ["*journal of machine:", "*program    -> stop", "*machine 2 was not closed"]
    )


def test_the_real_qemu(pytester: pytest.Pytester) -> None:
    if missing := qemu_missing():
        pytest.skip(missing)
    done = run(
        pytester,
        """
        import pytest

        @pytest.mark.qmpd(disks={"a": "1M"}, images={"b": "b.qcow2,format=qcow2,size=1M"})
        def test_both(qmpd_qemu):
            assert {"a", "b"} <= set(qmpd_qemu.nodes)
            qmpd_qemu.cmd("block-dirty-bitmap-add", node="b", name="b0", persistent=True)
            qmpd_qemu.hmp('qemu-io a "write -q 0 4k"')
            qmpd_qemu.cmd("blockdev-backup", job_id="j", device="a", target="b", sync="full")
            qmpd_qemu.event_wait("BLOCK_JOB_COMPLETED")
            assert qmpd_qemu.job("j").wait() == "null"
        """,
        "--qmpd-real=10.0,0.9",
        "-rs",
        "-v",
    )
    done.assert_outcomes(passed=2, skipped=1)
    done.stdout.fnmatch_lines_random(
        ["*test_both?qmpd? PASSED*", "*test_both?QEMU-10.0? PASSED*", "*QEMU 0.9 is not installed"]
    )


def test_a_real_machine_that_cannot_start() -> None:
    from qmpd.errors import MachineClosed
    from qmpd.testing import RealMachine

    if missing := qemu_missing():
        pytest.skip(missing)
    assert find_qemu("10.0.2") == shutil.which("qemu-system-x86_64")
    with pytest.raises(LookupError, match=r"QEMU 0\.9 is neither in /opt/qemu/0\.9 nor"):
        RealMachine(version="0.9")
    with pytest.raises(MachineClosed, match=r"QEMU has ended at once: .*No such file"):
        RealMachine(images={"a": {"path": "none.raw", "read_only": True}})


def test_the_plugin_is_idle_where_nobody_uses_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing_was_imported():
            loaded = {name for name in sys.modules if name.split(".")[0] == "qmpd"}
            assert loaded == {"qmpd", "qmpd.version", "qmpd.testing", "qmpd.testing.plugin"}
            assert "pydantic" not in sys.modules
        """
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.assert_outcomes(passed=1)


def test_asserts_of_qmpd_itself_are_not_rewritten() -> None:
    code = (
        "import sys\n"
        "class Hook:\n"
        "    _must_rewrite = {'qmpd', 'other'}\n"
        "    find_spec = staticmethod(lambda *_: None)\n"
        "sys.meta_path.append(Hook())\n"
        "import qmpd.testing.plugin\n"
        "print(Hook._must_rewrite)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "{'other'}\n", done.stderr
