"""Commands of schema module sim-journal: what has happened."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.sim.control.context import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.control.models.sim_journal import (
        XSimAssertCalledArguments,
        XSimAssertOrderArguments,
        XSimJournalArguments,
        XSimJournalErrorsArguments,
    )
    from qmpd.sim.journal.entry import Entry
    from qmpd.sim.journal.journal import Journal


def _since(context: Context, mark: int | None) -> Journal:
    whole = context.bench.journal
    return whole if mark is None else whole.since(mark)


def _info(context: Context, entries: Iterable[Entry]) -> dict[str, Any]:
    """SimJournal."""
    journal = context.bench.journal
    plain = [json.loads(json.dumps(entry.describe(), default=repr)) for entry in entries]
    return {"mark": journal.mark(), "dropped": journal.dropped, "entries": plain}


def journal(context: Context, arguments: XSimJournalArguments) -> dict[str, Any]:
    """A part of the journal."""
    chosen = _since(context, arguments.since).filter(
        arguments.kind,
        command=arguments.command,
        event=arguments.event,
        monitor=arguments.monitor,
    )
    if arguments.text:
        whole = context.bench.journal
        text = chosen.text(arguments.last)
        return {"mark": whole.mark(), "dropped": whole.dropped, "text": text}
    entries = list(chosen)
    first = 0 if arguments.last is None else max(0, len(entries) - arguments.last)
    return _info(context, entries[first:])


def journal_errors(context: Context, arguments: XSimJournalErrorsArguments) -> dict[str, Any]:
    """What tells of a failure."""
    expected = arguments.expected or ()
    return _info(context, _since(context, arguments.since).unexpected_errors(*expected))


def assert_called(context: Context, arguments: XSimAssertCalledArguments) -> None:
    """Check that a command was sent."""
    options: dict[str, Any] = {}
    if arguments.arguments is not None:
        options["arguments"] = arguments.arguments
    if arguments.times is not None:
        options["times"] = arguments.times
    try:
        _since(context, arguments.since).assert_called(arguments.command, **options)
    except AssertionError as error:
        raise GenericError(str(error)) from None


def assert_order(context: Context, arguments: XSimAssertOrderArguments) -> None:
    """Check that things happened in this order."""
    try:
        _since(context, arguments.since).assert_order(*arguments.steps)
    except AssertionError as error:
        raise GenericError(str(error)) from None


HANDLERS: Final[Handlers] = {
    "x-sim-journal": journal,
    "x-sim-journal-errors": journal_errors,
    "x-sim-assert-called": assert_called,
    "x-sim-assert-order": assert_order,
}
