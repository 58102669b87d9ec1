"""The format of recorded sessions: lines of JSON, described in docs/howto/record.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from qmpd.version import __version__

VERSION: Final = 1
"""The version of the format that is written, and the only one that is read."""

HEAD: Final = "qmpd-recording"
"""The member of the first line that has the version."""

Side = Literal["client", "server"]
What = Literal["said", "opened", "closed"]


class RecordingError(ValueError):
    """A file that is no recording, or not as it should be; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message, or the beginning or end of a connection.

    :param line: where it is in the file, counted from 1
    :param connection: counts the clients, from 1
    :param time: seconds since the recording began
    :param side: who has said it, or has come or gone
    :param message: the JSON value; None for what is none
    :param raw: the text, where it is not the value's usual one
    :param descriptors: how many descriptors came with it
    :param what: ``said``, ``opened`` or ``closed``
    """

    line: int
    connection: int
    time: float
    side: Side
    message: Any = None
    raw: str | None = None
    descriptors: int = 0
    what: What = "said"

    @property
    def data(self) -> bytes:
        """The bytes that were sent, without the space around them."""
        text = json.dumps(self.message) if self.raw is None else self.raw
        return text.encode("utf-8", "surrogateescape")


def head_line(**more: Any) -> str:
    """The first line of a recording."""
    return json.dumps({HEAD: VERSION, "program": f"qmpd {__version__}", **more})


def said_line(said: Said) -> str:
    """The line of a message, or of the beginning or end of a connection."""
    line: dict[str, Any] = {"connection": said.connection, "time": round(said.time, 6)}
    if said.what != "said":
        return json.dumps({**line, said.what: said.side})
    line["from"] = said.side
    if said.message is not None:
        line["message"] = said.message
    if said.raw is not None:
        line["raw"] = said.raw
    if said.descriptors:
        line["descriptors"] = said.descriptors
    return json.dumps(line)


def said_in(data: bytes) -> tuple[Any, str | None]:
    """The value of a message and its text, None where that is the usual one but for its spaces.

    What is not JSON, or JSON only for QEMU, has no value.
    """
    text = data.decode("utf-8", "surrogateescape")
    try:
        value = json.loads(text)
    except ValueError:
        return None, text
    usual = text in (json.dumps(value), json.dumps(value, separators=(",", ":")))
    return value, None if usual else text


_MEMBERS: Final[Mapping[str, type | tuple[type, ...]]] = MappingProxyType(
    {"connection": int, "time": (int, float), "raw": str, "descriptors": int}
)
_SIDES: Final = ("client", "server")
_WHAT: Final[Mapping[str, What]] = MappingProxyType(
    {"from": "said", "opened": "opened", "closed": "closed"}
)


def read_recording(lines: Iterable[str], name: str) -> list[Said]:
    """Read a recording.

    :param name: of the file, for errors
    :raises RecordingError: it is none, it has a version that is not known, or a line is broken
    """
    numbered = enumerate(lines, 1)
    _check_head(next(numbered, (1, ""))[1], name)
    return [_read_line(number, line, name) for number, line in numbered if line.strip()]


def _check_head(line: str, name: str) -> None:
    try:
        head = json.loads(line)
    except ValueError:
        head = None
    if not isinstance(head, dict) or HEAD not in head:
        raise RecordingError(f"'{name}' is no recording: its first line has no \"{HEAD}\"")
    if head[HEAD] != VERSION:
        raise RecordingError(
            f"'{name}' has version {head[HEAD]!r} of the format; this qmpd reads version {VERSION}"
        )


def _read_line(number: int, line: str, name: str) -> Said:
    def wrong(text: str) -> RecordingError:
        return RecordingError(f"'{name}', line {number}: {text}")

    try:
        entry = json.loads(line)
    except ValueError as error:
        raise wrong(f"it is no JSON ({error})") from None
    if not isinstance(entry, dict):
        raise wrong("it is no JSON object")
    for member, types in _MEMBERS.items():
        if member in entry and not isinstance(entry[member], types):
            raise wrong(f'"{member}" is {entry[member]!r}')
    if "connection" not in entry:
        raise wrong('it has no "connection"')
    where = (number, entry["connection"], float(entry.get("time", 0)))
    kind = next((name for name in _WHAT if name in entry), None)
    if kind is None:
        raise wrong('it has none of "from", "opened" and "closed"')
    side = entry[kind]
    if side not in _SIDES:
        raise wrong(f'"{kind}" is {side!r}, not "client" or "server"')
    if kind == "from" and "message" not in entry and "raw" not in entry:
        raise wrong('it has neither "message" nor "raw"')
    said = (entry.get("message"), entry.get("raw"), entry.get("descriptors", 0))
    return Said(*where, side, *said, _WHAT[kind])
