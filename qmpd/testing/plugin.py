"""A plugin of pytest: machines as fixtures, and the marker that says what they are.

pytest loads it at each start where qmpd is installed, so it imports nothing of qmpd before a test
uses one of its fixtures.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from qmpd.api.handles import Clock
    from qmpd.api.machine import Machine
    from qmpd.testing.machines import Machines
    from qmpd.testing.real import RealMachine

MACHINES: Final = pytest.StashKey["Machines"]()
"""Where an item has its machines."""

_SCHEDULE: Final = "qmpd_schedule"
_VERSION: Final = "qmpd_version"
_QEMU: Final = "qmpd_qemu"


def _leave_qmpd_alone() -> None:
    """Have pytest not rewrite the assertions of qmpd itself.

    pytest does that for all modules of a package that has a plugin.  qmpd has hundreds, which would
    be compiled again where their cache is empty, as it is in every fresh container.
    """
    for finder in sys.meta_path:
        marked = getattr(finder, "_must_rewrite", None)
        if isinstance(marked, set):
            marked.discard("qmpd")


_leave_qmpd_alone()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    parser.getgroup("qmpd").addoption(
        "--qmpd-real",
        metavar="VERSION[,VERSION...]",
        action="append",
        default=[],
        help="run tests that use qmpd_qemu on these versions of the real QEMU as well",
    )
    parser.getgroup("qmpd").addoption(
        "--qmpd-versions",
        metavar="VERSION[,VERSION...]",
        action="append",
        default=[],
        help="run tests with machines of qmpd on each of these versions (all: on all of them),"
        " unless their marker says which",
    )
    _add_lint(parser)


_LINT: Final = {
    "versions": "the oldest and the newest version for --qmpd-lint, as 7.2..11.1 (either may be"
    " left out)",
    "needs": "a list of what the tested programs need to be told, for --qmpd-lint",
    "file": "where the findings of --qmpd-lint go: FILE.json or FILE.sarif",
}
"""The options of the summary, each also a setting of the same name."""


def _add_lint(parser: pytest.Parser) -> None:
    group = parser.getgroup("qmpd")
    about = "tell in the end what versions make of what was asked: see docs/howto/lint.md"
    group.addoption("--qmpd-lint", action="store_true", help=about)
    parser.addini("qmpd_lint", f"{about} (--qmpd-lint)", type="bool", default=False)
    for name, text in _LINT.items():
        group.addoption(f"--qmpd-lint-{name}", metavar=name.upper(), help=text)
        parser.addini(f"qmpd_lint_{name}", f"{text} (--qmpd-lint-{name})", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Tell of the marker; where a summary is asked for, prepare it."""
    config.addinivalue_line(
        "markers",
        "qmpd(disks=, images=, storage=, allow_write=, allow_read=, allow_sockets=,"
        " memory_limit=, version=, clock=, seed=, personality=, board=, paused=, power=,"
        " versions=, schedules=, allow=):"
        " what the test's machines are, and what it may leave behind",
    )
    if config.getoption("--qmpd-lint") or config.getini("qmpd_lint"):
        from qmpd.testing.lint_plugin import LintPlugin

        given = {
            name: config.getoption(f"--qmpd-lint-{name}") or config.getini(f"qmpd_lint_{name}")
            for name in _LINT
        }
        worker = getattr(config, "workeroutput", None)
        plugin = LintPlugin(given["versions"], given["needs"], given["file"], MACHINES, worker)
        config.pluginmanager.register(plugin, "qmpd-lint")


# What a test wants


def _wishes(item: pytest.Item) -> dict[str, Any]:
    """The arguments of the markers of a test; the nearest one counts.

    :raises WishError: there is no such argument
    """
    from qmpd.testing.wishes import WishError, check

    wishes: dict[str, Any] = {}
    for marker in item.iter_markers("qmpd"):
        if marker.args:
            raise WishError("marker qmpd: its arguments have names, as in qmpd(disks={...})")
        check(marker.kwargs)
        wishes = {**marker.kwargs, **wishes}
    return wishes


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test under several schedules, and on several programs."""
    if _SCHEDULE in metafunc.fixturenames:
        marks = metafunc.definition.iter_markers("qmpd")
        counts = [mark.kwargs["schedules"] for mark in marks if "schedules" in mark.kwargs]
        # what is no number is refused when the test is set up
        if counts and isinstance(counts[0], int) and counts[0] > 0:
            seeds = range(counts[0])
            ids = [f"schedule{seed}" for seed in seeds]
            metafunc.parametrize(_SCHEDULE, seeds, ids=ids)
    if _VERSION in metafunc.fixturenames:
        versions = _wanted_versions(metafunc)
        if versions:
            metafunc.parametrize(_VERSION, versions, ids=[f"v{version}" for version in versions])
    if _QEMU in metafunc.fixturenames:
        real = _versions(metafunc.config)
        ids = ["qmpd", *(f"QEMU-{version}" for version in real)]
        metafunc.parametrize(_QEMU, [None, *real], ids=ids, indirect=True)


def _wanted_versions(metafunc: pytest.Metafunc) -> list[str]:
    """The versions of qmpd that a test is run on: its marker's, else those of the option."""
    from qmpd.testing.wishes import wanted_versions

    marks = [mark.kwargs for mark in metafunc.definition.iter_markers("qmpd")]
    for wishes in marks:
        if "versions" in wishes:
            # what is no version is refused when the test is set up
            return [str(version) for version in wanted_versions(wishes)]
        if "version" in wishes:
            return []
    options: list[str] = metafunc.config.getoption("--qmpd-versions")
    wanted = [version for option in options for version in option.split(",") if version]
    return list(wanted_versions({"versions": "all"})) if wanted == ["all"] else wanted


def _versions(config: pytest.Config) -> list[str]:
    options: list[str] = config.getoption("--qmpd-real")
    return [version for option in options for version in option.split(",") if version]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a marker that is wrong, whether the test uses a fixture or not."""
    if item.get_closest_marker("qmpd") is None:
        return
    try:
        _wishes(item)
    except ValueError as error:
        pytest.fail(str(error), pytrace=False)


# What a test leaves, and what is shown when it fails


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that has passed and has left something behind."""
    result = yield
    machines = item.stash.get(MACHINES, None)
    complaint = None if machines is None else machines.complaint()
    if complaint is not None:
        pytest.fail(complaint, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the journals of a test that has failed."""
    report = yield
    machines = item.stash.get(MACHINES, None)
    if machines is None:
        return report
    if report.failed:
        report.sections += [(f"qmpd journal: {name}", text) for name, text in machines.texts()]
    if call.when == "teardown":
        del item.stash[MACHINES]
    return report


# The fixtures


@pytest.fixture
def qmpd_schedule() -> int | None:
    """The seed of the order of events; None unless the marker has ``schedules``."""
    return None


@pytest.fixture
def qmpd_version() -> str | None:
    """The version that the test is run on; None unless several are asked for."""
    return None


@pytest.fixture
def qmpd_factory(
    request: pytest.FixtureRequest, qmpd_schedule: int | None, qmpd_version: str | None
) -> Iterator[Machines]:
    """Makes machines as the marker wants them: call it as `qmpd.Machine`, which it returns.

    ``qmpd_factory.aio(...)`` makes a `qmpd.aio.Machine`.  The test has to close them.
    """
    from qmpd.testing.machines import Machines

    item = request.node
    machines = item.stash[MACHINES] = Machines(_wishes(item), qmpd_schedule, qmpd_version)
    yield machines
    machines.close()


@pytest.fixture
def qmpd_machine(request: pytest.FixtureRequest, qmpd_factory: Machines) -> Machine:
    """A `qmpd.Machine` as the marker wants it; it is closed after the test."""
    held = {"clock": "held"} if "qmpd_clock" in request.fixturenames else {}
    if "clock" in _wishes(request.node):
        held = {}
    return qmpd_factory.make(held, kept=True)


@pytest.fixture
def qmpd_clock(qmpd_machine: Machine) -> Clock:
    """The clock of `qmpd_machine`, which is held: time passes when the test says so."""
    return qmpd_machine.clock


@dataclass(frozen=True, slots=True)
class ServedMachine:
    """A machine behind a socket.

    :param path: of the unix socket
    :param machine: the machine itself
    """

    path: str
    machine: Machine


@pytest.fixture
def qmpd_server(qmpd_machine: Machine) -> Iterator[ServedMachine]:
    """`qmpd_machine` behind a unix socket at ``.path``, for a client under test."""
    with qmpd_machine.serve() as path:
        yield ServedMachine(path, qmpd_machine)


@pytest.fixture
def qmpd_qemu(
    request: pytest.FixtureRequest, qmpd_factory: Machines
) -> Iterator[Machine | RealMachine]:
    """A machine of qmpd, and then a real QEMU for each version of ``--qmpd-real``.

    A real one has the disks of the marker; all else of it is as far as QMP goes.
    """
    version = getattr(request, "param", None)
    if version is None:
        yield request.getfixturevalue("qmpd_machine")
        return
    from qmpd.testing.real import RealMachine, find_qemu
    from qmpd.testing.wishes import machine_arguments

    if find_qemu(version) is None:
        pytest.skip(f"QEMU {version} is not installed")
    arguments = machine_arguments(_wishes(request.node), {})
    disks, images = arguments.get("disks"), arguments.get("images")
    with RealMachine(disks=disks, images=images, version=version) as machine:
        yield machine
