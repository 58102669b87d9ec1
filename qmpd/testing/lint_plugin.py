"""A summary of `qmpd.sim.lint` at the end of a run of pytest: of what all tests have asked.

With pytest-xdist the workers look at their tests, and send what they have found.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import pytest

from qmpd.sim.lint import between, lint
from qmpd.sim.lint.finding import KINDS, Finding, span
from qmpd.sim.lint.formats import as_json, as_sarif
from qmpd.sim.lint.needs import found as lacking
from qmpd.sim.lint.needs import read_needs_of
from qmpd.sim.lint.run import key_of
from qmpd.sim.lint.session import session_of_journal
from qmpd.testing.machines import Machines

SENT: Final = "qmpd_lint"
"""What workers send their findings as."""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, and the test that it is of.

    :param test: the test's id; that of what is needed is empty
    :param file: where the test is, or the list of needs
    :param line: likewise
    """

    finding: Finding
    test: str
    file: str
    line: int


class LintPlugin:
    """Looks at each test's machines, and tells of it in the end.

    :param versions: ``FROM..TO``; either may be left out
    :param needs: a list of what the tested programs need, if there is one
    :param output: a file for the findings, JSON or SARIF by its name, if they are to be in one
    :param kept: where a test has its machines
    :param worker: what a worker sends goes in here; None where all is put together
    :raises pytest.UsageError: something of that is wrong
    """

    def __init__(
        self,
        versions: str,
        needs: str,
        output: str,
        kept: pytest.StashKey[Machines],
        worker: dict[str, Any] | None = None,
    ) -> None:
        self._kept = kept
        self._needs, self._output, self._worker = needs, output, worker
        oldest, _, newest = versions.partition("..")
        try:
            self._versions = between(oldest or None, newest or None)
            self._wanted = read_needs_of(needs) if needs else []
        except ValueError as error:
            raise pytest.UsageError(f"qmpd lint: {error}") from None
        if output and not output.endswith((".json", ".sarif")):
            raise pytest.UsageError(f"qmpd lint: '{output}' ends neither in .json nor in .sarif")
        self._found: list[Found] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Look at a test's machines when they are at an end."""
        machines: object = None
        if call.when == "teardown":
            machines = item.stash.get(self._kept, None)
        elif call.when == "call":
            machines = getattr(getattr(item, "instance", None), "machines", None)
        if isinstance(machines, Machines):
            self._look(item, machines)
        return (yield)

    def _look(self, item: pytest.Item, machines: Machines) -> None:
        file, line, _ = item.location
        for journal in machines.journals():
            for finding in lint(session_of_journal(journal), self._versions):
                self._found.append(Found(finding, item.nodeid, file, (line or 0) + 1))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take what a worker has found."""
        for sent in getattr(node, "workeroutput", {}).get(SENT, ()):
            told = dict(sent)
            finding = told.pop("finding")
            lists = {name: tuple(finding[name]) for name in ("versions", "see")}
            self._found.append(Found(Finding(**{**finding, **lists}), **told))

    def pytest_sessionfinish(self) -> None:
        """Send what was found, or write it."""
        if self._worker is not None:
            self._worker[SENT] = [asdict(each) for each in self._found]
            return
        needed = lacking(self._wanted, self._versions)
        own = [Found(finding, "", self._needs, finding.place) for finding in needed]
        self._found = [*own, *sorted(self._found, key=lambda each: each.test)]
        if self._output:
            with open(self._output, "w", encoding="utf-8") as file:
                file.write(self._text())

    def _text(self) -> str:
        """All that was found, once each, for a program."""
        each = [group[0] for group in _groups(self._found)]
        if self._output.endswith(".json"):
            return as_json(
                {"test": found.test, "file": found.file, "line": found.line} | asdict(found.finding)
                for found in each
            )
        return as_sarif((found.finding, (found.file, found.line)) for found in each)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell what was found, the gravest first."""
        write = terminalreporter
        write.ensure_newline()
        write.section(f"qmpd lint: {span(self._versions)}")
        groups = _groups(self._found)
        for group in groups:
            first, tests = group[0], len({found.test for found in group})
            write.write_line(first.finding.text)
            more = f", and {tests - 1} more test{'s' * (tests > 2)}" if tests > 1 else ""
            where = f"entry {first.finding.place}" if first.test else f"line {first.line}"
            write.write_line(f"    {first.test or first.file}, {where}{more}")
        write.write_line(f"{len(groups)} finding{'s' * (len(groups) != 1)}")


def _groups(found: Iterable[Found]) -> list[list[Found]]:
    """What was found, the same together; of each group the first counts for all."""
    groups: dict[Any, list[Found]] = {}
    for each in found:
        groups.setdefault(key_of(each.finding), []).append(each)
    for group in groups.values():
        times = sum(each.finding.times for each in group)
        group[0] = replace(group[0], finding=replace(group[0].finding, times=times))
    order = list(KINDS)
    return sorted(groups.values(), key=lambda group: order.index(group[0].finding.kind))
