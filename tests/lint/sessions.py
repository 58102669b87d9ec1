"""Sessions written down by hand: what a client asks, what it is answered, what it is told."""

from __future__ import annotations

from typing import Any

from qmpd.sim.lint import Finding, Session, lint
from qmpd.sim.lint.session import session_of_recording
from qmpd.sim.record.recording import Said

Line = tuple[str, Any]
"""Who says what: ``("client", MESSAGE)`` or ``("server", MESSAGE)``."""


def ask(command: str, **arguments: Any) -> Line:
    """A request; ``_`` in names stands for ``-``."""
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    return "client", {"execute": command, "arguments": named}


def answer(value: Any = None) -> Line:
    """An answer."""
    return "server", {"return": {} if value is None else value}


def error(desc: str) -> Line:
    """An error."""
    return "server", {"error": {"class": "GenericError", "desc": desc}}


def event(name: str, **data: Any) -> Line:
    """An event."""
    return "server", {"event": name, "data": data, "timestamp": {}}


def status(job: str, state: str) -> Line:
    """The event that a job is in another state."""
    return event("JOB_STATUS_CHANGE", id=job, status=state)


def session(*lines: Line, times: list[float] | None = None, clients: str | None = None) -> Session:
    """A session of which each line is a line of a recording, from the second one on.

    :param times: when each line was said; a second after the other if absent
    :param clients: the number of the client of each line; all are one client's if absent
    """
    said = [
        Said(
            number + 2,
            int(clients[number]) if clients is not None else 1,
            times[number] if times is not None else float(number),
            "client" if side == "client" else "server",
            message,
        )
        for number, (side, message) in enumerate(lines)
    ]
    return session_of_recording(said)


def found(*lines: Line, **more: Any) -> list[Finding]:
    """What is found about the client, by rules of its own."""
    findings = lint(session(*lines, **more), ("10.0",))
    return [finding for finding in findings if finding.rule is not None]


def rules(*lines: Line, **more: Any) -> list[tuple[str | None, int, tuple[int, ...]]]:
    """The rules by which something is found, where, and what else belongs to it."""
    return [(finding.rule, finding.place, finding.see) for finding in found(*lines, **more)]
