"""An entry of a journal as it is kept, and how it is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qmpd.sim.journal.entry import Entry, Kind
from qmpd.wire.session import NO_ID, Request

if TYPE_CHECKING:
    from qmpd.wire.session import BadRequest

Raw = tuple[Kind, int, str | None, Any, Any, Any]
"""What is kept of an entry: kind, time, monitor, and what the kind needs:

* ``request``: a command, its arguments (an empty tuple if there are none), its id; a
  `Request` that came out of band, its arguments; a line of the human monitor; or a `BadRequest`
* ``answer``: its bytes, or the text of the human monitor; the command that it answers
* ``event``: its bytes
* ``connection``: what happens; the greeting's bytes where there is one
* all kinds: a dictionary, where the bench notes it

What is not needed is None.  Nothing in a tuple, mostly, is looked through for garbage.
"""


def read_entry(number: int, raw: Raw) -> Entry:
    """Decode an entry."""
    kind, time, monitor, *rest = raw
    return Entry(number, time, kind, monitor, **_members(kind, *rest))


def _members(kind: str, content: Any, more: Any, identity: Any) -> dict[str, Any]:
    if isinstance(content, dict):
        return {"data": content}
    if kind == "request":
        return _request(content, more, identity)
    if kind == "answer":
        answer = {"text": content} if isinstance(content, str) else json.loads(content)
        return {"command": more, "answer": answer, "error": answer.get("error")}
    if kind == "event":
        event = json.loads(content)
        return {"event": event["event"], "data": event.get("data", {})}
    greeting = {} if more is None else {"greeting": json.loads(more)}
    return {"data": {"what": content, **greeting}}


def _request(content: Request | BadRequest | str, more: Any, identity: Any) -> dict[str, Any]:
    if isinstance(content, Request):
        return {**_request(content.command, more, identity), "oob": True}
    if not isinstance(content, str):
        error = {"class": content.error.error_class, "desc": content.error.desc}
        return {"error": error, "id": None if content.id is NO_ID else content.id}
    if more is None:
        return {"command": content}
    return {"command": content, "arguments": more or {}, "id": identity}
