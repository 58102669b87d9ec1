"""Recorded sessions: what was sent to QEMU, and what came back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SESSIONS = Path(__file__).parent / "sessions"


@dataclass
class Exchange:
    """What was sent at once, and all that came back before the next was."""

    sent: bytes
    received: list[Any] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    shell: str | None = None
    """What another program does instead."""
    pause: float = 0.0
    """Seconds for which nothing was sent afterwards."""


@dataclass
class Session:
    """A recorded session."""

    argv: list[str]
    preparations: list[str]
    steps: list[Exchange]


def load(name: str, path: Path | None = None) -> Session:
    """Read session `name`.

    :param path: another recording of it
    """
    session = Session([], [], [Exchange(b"")])
    file = SESSIONS / f"{name}.jsonl" if path is None else path
    for line in file.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        last = session.steps[-1]
        if "command" in entry:
            session.argv = entry["command"]
        elif "sh" in entry and len(session.steps) == 1:
            session.preparations.append(entry["sh"])
        elif "sh" in entry:
            session.steps.append(Exchange(b"", shell=entry["sh"]))
        elif "send" in entry:
            session.steps.append(Exchange(json.dumps(entry["send"]).encode() + b"\n"))
        elif "send_raw" in entry:
            session.steps.append(Exchange(entry["send_raw"].encode("latin-1")))
        elif "recv" in entry:
            last.received.append(entry["recv"])
            last.raw.append(entry.get("raw", ""))
        elif "stdout" in entry:
            last.printed.append(entry["stdout"])
        elif "sleep" in entry:
            last.pause += entry["sleep"]
    return session
