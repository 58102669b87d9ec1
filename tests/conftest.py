"""Markers by place, and the account of what was skipped.

Where a real QEMU is installed, a test that is skipped for a reason not in `MAY_BE_SKIPPED`
fails the run: a suite that compares with QEMU must not turn green by comparing nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.audit import Audit, install
from tests.support.programs import qemu_missing

HERE = Path(__file__).parent

# their assertions are to explain themselves, too
pytest.register_assert_rewrite(
    "tests.block.files",
    "tests.clients.libvirt.world",
    "tests.differential.pair",
    "tests.drivers.pair",
    "tests.interop.sides",
    "tests.migration.world",
)

MARKED: dict[str, tuple[str, ...]] = {
    "clients": ("clients/", "examples/", "test_readme.py"),
    "differential": (
        "backup/test_bitmap_table.py",
        "bitmaps/test_live.py",
        "block/test_active_same_as_qemu.py",
        "block/test_drives_same_as_qemu.py",
        "block/test_gone_files_same_as_qemu.py",
        "block/test_locks.py",
        "block/test_probed.py",
        "block/test_same_as_qemu.py",
        "block/test_timed_stats.py",
        "block/test_followers_same_as_qemu.py",
        "block/test_walk_same_as_qemu.py",
        "cli/test_messages.py",
        "cli/test_options_of_versions.py",
        "cli/test_same_complaints.py",
        "commands/test_former_same_as_qemu.py",
        "devices/",
        "differential/",
        "doors/",
        "drivers/",
        "exhaustion/test_full_disk.py",
        "exhaustion/test_limits.py",
        "export/test_complaints.py",
        "export/test_inactive.py",
        "export/test_vhost_user",
        "hmp/",
        "interop/",
        "jobs/test_little_to_do_same_as_qemu.py",
        "jobs/test_pause_same_as_qemu.py",
        "jobs/test_start_same_as_qemu.py",
        "migration/",
        "profile/test_against_qemu.py",
        "profile/test_recorded_same_as_qemu.py",
        "qcow2/test_same_",
        "schema/test_against_qemu.py",
        "schema/test_integer_types.py",
        "server/test_shutdown_with_jobs.py",
        "sim/faults/test_same_as_blkdebug.py",
        "sim/power/test_judged_by_qemu.py",
        "snapshots/test_group_same_as_qemu.py",
        "snapshots/test_jobs_same_as_qemu.py",
        "snapshots/test_sessions_same_as_qemu.py",
        "strangers/",
        "wire/test_live.py",
    ),
    "slow": (
        "api/test_cost.py",
        "differential/",
        "exhaustion/test_waits.py",
        "interop/",
        "jobs/test_always_end.py",
        "qcow2/test_damage.py",
        "server/test_shutdown_with_jobs.py",
        "sim/faults/test_same_as_blkdebug.py",
        "sim/power/test_qcow2.py",
    ),
}
"""For each marker, what the paths (below tests/) of the tests that bear it begin with."""

MAY_BE_SKIPPED = (
    r"installs a wheel and its dependencies anew",
    r"(go|node|golang-github-digitalocean-go-qemu-dev) is not installed",
    r"the npm package qemu-qmp cannot be had",
    r"QEMU (5\.2|7\.2|11\.1) is not installed",
    r"QEMU 5\.2 dies of that",
    r"(libvirtd|virsh|unshare|virtnbdbackup|nbdinfo) is not installed",
    r"QEMU's sources, which have qemu.machine, are not there",
    r"strace (is not installed|may not trace)",
    r"needs libvirt 11",
    r"(only root mounts a small disk|a small disk may not be mounted)",
    r"libvirt needs root",
    r"the file system of the temporary folder has no O_DIRECT",
)
"""Reasons for which a test may be skipped although a real QEMU is installed (regexps)."""


# Two workers on two cores, beside programs of QEMU's: slow input says nothing of the test.
settings.register_profile("qmpd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("qmpd")


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue  # examples/tool, which is tested as its user would
        place = item.path.relative_to(HERE).as_posix()
        for marker, beginnings in MARKED.items():
            if place.startswith(beginnings):
                item.add_marker(marker)


class Skips:
    """Collects why tests were skipped, and fails the run where QEMU is installed."""

    def __init__(self) -> None:
        self.unexpected: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(re.search(pattern, reason) for pattern in MAY_BE_SKIPPED):
            self.unexpected.append(f"{report.nodeid}: {reason}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unexpected and qemu_missing() is None and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.unexpected:
            return
        missing = qemu_missing()
        terminalreporter.section("skipped: " + (missing or "although QEMU is installed"))
        for line in self.unexpected:
            terminalreporter.line(line)

    def pytest_unconfigure(self) -> None:
        # The last words of a run, beside its counts, which say "passed".
        if self.unexpected and qemu_missing() is None:
            print(f"FAILED: {len(self.unexpected)} skipped, and may not be (MAY_BE_SKIPPED):")
            print(self.unexpected[0])


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # with pytest-xdist, the process that reports
        config.pluginmanager.register(Skips())
    if os.environ.get("QMPD_AUDIT"):
        config.pluginmanager.register(Audit())
        install()
