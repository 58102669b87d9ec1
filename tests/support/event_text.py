"""Events as short lines, to be compared and waited for."""

from __future__ import annotations

from typing import Any


def event_text(event: Any) -> str:
    """``running j0`` for JOB_STATUS_CHANGE; name, job and what else it says for any other."""
    data = dict(event["data"])
    if event["event"] == "JOB_STATUS_CHANGE":
        return f"{data['status']} {data['id']}"
    job = data.pop("device", None) or data.pop("id", "")
    data.pop("type", None)
    rest = " ".join(f"{name}={data[name]}" for name in sorted(data))
    return f"{event['event']} {job} {rest}".strip()
