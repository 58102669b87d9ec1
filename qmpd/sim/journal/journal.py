"""`vm.journal`: what has happened to a machine, to read and to assert."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from qmpd.sim.journal.entry import KINDS, Entry
from qmpd.sim.journal.matchers import ANY, matches
from qmpd.sim.journal.raw import read_entry
from qmpd.sim.journal.steps import Step, read_step
from qmpd.wire.session import Request

if TYPE_CHECKING:
    from qmpd.sim.journal.log import Log
    from qmpd.sim.journal.raw import Raw
    from qmpd.sim.lint import Finding

SHOWN: Final = 15
"""Entries that a failing assertion shows."""

FAILURES: Final = frozenset({"BLOCK_IMAGE_CORRUPTED", "BLOCK_IO_ERROR", "BLOCK_JOB_ERROR"})
"""Events that tell of a failure, whatever their data are."""


@dataclass(frozen=True, slots=True)
class _Selection:
    """Which entries are shown; None for all."""

    since: int = 0
    kinds: frozenset[str] | None = None
    monitor: Any = None
    command: Any = None
    event: Any = None

    def may_have(self, raw: Raw) -> bool:
        """Whether an entry may be one of them, seen before it is decoded."""
        kind, _, monitor, content, more, _ = raw
        if self.kinds is not None and kind not in self.kinds:
            return False
        if self.monitor is not None and not matches(monitor, self.monitor):
            return False
        if self.command is None:
            return self.event is None or kind == "event"
        if kind == "request":
            command = content.command if isinstance(content, Request) else content
            return isinstance(command, str) and matches(command, self.command)
        return kind == "answer" and matches(more, self.command)


class Journal:
    """What has happened to a machine, in its order, or a part of that.

    It is iterable and has a length, and it goes on with the machine: each look at it shows what
    has happened until then.  It can be read when the machine has been closed, too.

    >>> import qmpd
    >>> with qmpd.Machine(disks={"disk0": "1M"}) as vm:
    ...     mark = vm.journal.mark()
    ...     _ = vm.cmd("block-dirty-bitmap-add", node="disk0", name="b0")
    ...     print(vm.journal.since(mark).text())
    ...     vm.journal.assert_called("block-dirty-bitmap-add", arguments={"name": "b0"}, times=1)
        0.000000  program    -> block-dirty-bitmap-add node=disk0 name=b0
        0.000000  program    <- block-dirty-bitmap-add: {}

    Where something is to be matched, that may be a value, a function, a compiled regular
    expression, `qmpd.testing.ANY`, or a dictionary of members that must be there: see
    `qmpd.testing.matches`.
    """

    def __init__(self, log: Log, selection: _Selection | None = None) -> None:
        self._log = log
        self._selection = _Selection() if selection is None else selection

    def __iter__(self) -> Iterator[Entry]:
        selection = self._selection
        first, raws = self._log.snapshot()
        skipped = max(0, selection.since - first)
        for number, raw in enumerate(raws[skipped:], first + skipped):
            if selection.may_have(raw):
                entry = read_entry(number, raw)
                if selection.event is None or matches(entry.event, selection.event):
                    yield entry

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: int) -> Entry:
        return list(self)[index]

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None

    def __str__(self) -> str:
        return self.text()

    @property
    def dropped(self) -> int:
        """How many of the oldest entries of the machine were dropped.

        Memory for some hundred thousand is kept; after that the older half goes.
        """
        return self._log.dropped

    # Parts

    def mark(self) -> int:
        """What has not happened yet begins here: for `since`."""
        return self._log.end

    def since(self, mark: int) -> Journal:
        """What has happened since a `mark`."""
        return Journal(self._log, replace(self._selection, since=mark))

    def filter(
        self,
        kind: str | Collection[str] | None = None,
        *,
        command: Any = None,
        event: Any = None,
        monitor: Any = None,
    ) -> Journal:
        """The entries that have all of this.

        :param kind: one of `qmpd.sim.journal.entry.KINDS`, or several
        :param command: name of a command; its requests and its answers are shown
        :param event: name of an event
        :param monitor: label of a monitor
        :raises ValueError: there is no such kind
        """
        chosen = self._selection
        if kind is not None:
            kinds = {kind} if isinstance(kind, str) else set(kind)
            for name in sorted(kinds - KINDS.keys()):
                raise ValueError(f"there is no kind {name!r} of entries; it is one of {_kinds()}")
            chosen = replace(chosen, kinds=frozenset(kinds))
        if command is not None:
            chosen = replace(chosen, command=command)
        if event is not None:
            chosen = replace(chosen, event=event)
        if monitor is not None:
            chosen = replace(chosen, monitor=monitor)
        return Journal(self._log, chosen)

    # Forms

    def text(self, last: int | None = None) -> str:
        """The entries for people, a line each.

        A job's state is left out where the line before is the event that tells of it.

        :param last: no more than so many, the newest
        """
        entries = _without_echoes(self)
        left_out = 0 if last is None else max(0, len(entries) - last)
        lines = _text(entries[left_out:])
        dropped = self.dropped if self._selection.since < self.dropped else 0
        if dropped:
            lines = f"({dropped} older entries were dropped)\n{lines}"
        return lines if not left_out else f"({left_out} before)\n{lines}"

    def json_lines(self) -> str:
        """The entries as JSON objects, a line each: the members of `Entry` that are not None."""
        return "".join(json.dumps(entry.describe(), default=repr) + "\n" for entry in self)

    # Assertions

    def assert_called(self, command: str, *, arguments: Any = ANY, times: Any = None) -> None:
        """Check that a command was sent.

        :param arguments: what its arguments must match, as they go over QMP
        :param times: how often; at least once if absent
        :raises AssertionError: it was not; with what was sent instead
        """
        calls = list(self.filter("request", command=command))
        found = [entry for entry in calls if matches(entry.arguments, arguments)]
        if bool(found) if times is None else matches(len(found), times):
            return
        with_what = "" if arguments is ANY else f" with {arguments!r}"
        wanted = "" if times is None else f", not {_times(times)}"
        headline = f"{command} was {_called(len(found))}{with_what}{wanted}"
        raise AssertionError(self._complaint(headline, calls))

    def assert_not_called(self, command: str, *, arguments: Any = ANY) -> None:
        """Check that a command was not sent.

        :raises AssertionError: it was
        """
        self.assert_called(command, arguments=arguments, times=0)

    def assert_order(self, *steps: Step) -> None:
        """Check that these things happened, in this order, whatever else happened in between.

        :param steps: each the name of a command that was sent or of an event; a pair of such a
            name and what its arguments or its data match; a dictionary of members of an `Entry`
            and what they match; or a function that tells of an `Entry` whether it is the one
        :raises AssertionError: they did not; it names the first one that is missing
        """
        wanted = [read_step(step) for step in steps]
        done: list[Entry] = []
        for entry in self:
            if len(done) < len(wanted) and wanted[len(done)](entry):
                done.append(entry)
        if len(done) == len(wanted):
            return
        after = f" after {steps[len(done) - 1]!r}" if done else ""
        headline = f"{steps[len(done)]!r} did not happen{after}"
        raise AssertionError(self._complaint(headline, done))

    def unexpected_errors(self, *expected: Step) -> list[Entry]:
        """Answers and events that tell of a failure, but for those that are expected.

        The events are BLOCK_IMAGE_CORRUPTED, BLOCK_IO_ERROR, BLOCK_JOB_ERROR, and those of jobs
        that end with an error.

        :param expected: each the name of a command or event; a pair of such a name and what the
            error or the data match; a dictionary of members of an `Entry`, or a function
        """
        allowed = [read_step(step, failed=True) for step in expected]
        return [
            entry
            for entry in self
            if _is_failure(entry) and not any(allows(entry) for allows in allowed)
        ]

    def lint(
        self,
        oldest: str | None = None,
        newest: str | None = None,
        *,
        needs: Iterable[str] = (),
    ) -> list[Finding]:
        """What other versions of QEMU make of the requests, and what the clients overlook.

        :param oldest: the oldest version to look at; None: the oldest that qmpd has
        :param newest: the newest one, likewise
        :param needs: what the clients need to be told, e.g. ``BlockInfo.qdev``: see
            `qmpd.sim.lint.needs`
        :raises ValueError: there is no such version, or no version has what is needed
        """
        from qmpd.sim.lint import between, lint
        from qmpd.sim.lint.needs import read_needs
        from qmpd.sim.lint.session import session_of_journal

        return lint(session_of_journal(self), between(oldest, newest), read_needs(needs))

    def assert_no_errors(self, *expected: Step) -> None:
        """Check that there are no `unexpected_errors`.

        :raises AssertionError: there are; it shows them
        """
        errors = self.unexpected_errors(*expected)
        if errors:
            headline = "nothing was expected to fail, but this did"
            raise AssertionError(self._complaint(headline, errors))

    def _complaint(self, headline: str, entries: list[Entry]) -> str:
        """What a failing assertion says: about it, and what happened last."""
        lines = [headline]
        if entries:
            lines += [":", "\n", _text(entries[-SHOWN:])]
        rest = [entry for entry in self if entry.kind not in ("clock", "job")][-SHOWN:]
        happened = _text(rest) or "(nothing)"
        return f"{''.join(lines)}\nthe last that happened:\n{happened}"


def _without_echoes(entries: Iterable[Entry]) -> list[Entry]:
    """The entries but for those of jobs that come right after an event with the same data."""
    shown: list[Entry] = []
    for entry in entries:
        last = shown[-1] if shown else None
        if entry.kind != "job" or last is None or last.data != entry.data:
            shown.append(entry)
    return shown


def _text(entries: Iterable[Entry]) -> str:
    return "\n".join(map(str, entries))


def _kinds() -> str:
    return ", ".join(repr(kind) for kind in KINDS)


def _times(count: Any) -> str:
    if not isinstance(count, int):
        return repr(count)
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _called(count: int) -> str:
    return f"called {_times(count)}" if count else "never called"


def _is_failure(entry: Entry) -> bool:
    if entry.kind == "event":
        return entry.event in FAILURES or "error" in (entry.data or {})
    return entry.kind == "answer" and entry.error is not None
