"""An entry of a journal as it is kept, and how it is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qmpd.sim.journal.entry import Entry, Kind

if TYPE_CHECKING:
    from qmpd.wire.session import BadRequest, Request

Raw = tuple[Kind, int, str | None, Any, Any]
"""What is kept of an entry: kind, time, monitor, and what the kind needs:

* ``request``: what the session has read, or a line of the human monitor; None
* ``answer``: its bytes, or the text of the human monitor; the command that it answers
* ``event``: its bytes; None
* ``connection``: what happens; the greeting's bytes where there is one
* all others: a dictionary; None
"""


def read_entry(number: int, raw: Raw) -> Entry:
    """Decode an entry."""
    kind, time, monitor, content, more = raw
    return Entry(number, time, kind, monitor, **_members(kind, content, more))


def _members(kind: str, content: Any, more: Any) -> dict[str, Any]:
    if kind == "request":
        return _request(content)
    if kind == "answer":
        answer = {"text": content} if isinstance(content, str) else json.loads(content)
        return {"command": more, "answer": answer, "error": answer.get("error")}
    if kind == "event" and isinstance(content, bytes):
        event = json.loads(content)
        return {"event": event["event"], "data": event.get("data", {})}
    if kind == "connection" and isinstance(content, str):
        greeting = {} if more is None else {"greeting": json.loads(more)}
        return {"data": {"what": content, **greeting}}
    return {"data": content}


def _request(content: Request | BadRequest | str) -> dict[str, Any]:
    from qmpd.wire.session import NO_ID, BadRequest

    if isinstance(content, str):
        return {"command": content}
    identity = None if content.id is NO_ID else content.id
    if isinstance(content, BadRequest):
        error = {"class": content.error.error_class, "desc": content.error.desc}
        return {"error": error, "id": identity}
    return {"command": content.command, "arguments": content.arguments or {}, "id": identity}
