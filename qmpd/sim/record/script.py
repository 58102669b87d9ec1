"""What a server says of a recording, and when: for a client that asks again what was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qmpd.sim.record.recording import Said


class Script:
    """One connection of a recording, played to a client.

    The client gets an answer when it has asked what was asked, and what was sent in between at the
    place where it was sent.  It need not send requests ahead as was done when they were recorded,
    nor with the same ids.

    :param recording: what was said on the connection
    """

    def __init__(self, recording: list[Said]) -> None:
        said = [entry for entry in recording if entry.what == "said"]
        self._requests = [entry for entry in said if entry.side == "client"]
        self._outgoing = list(_when(said))
        self._ids: dict[str, Any] = {}
        """The ids that the client uses, by the texts of those that were recorded."""
        self._taken = 0
        self._sent = 0
        self.complaints: list[str] = []
        """What the client has asked that was not recorded there."""

    def begin(self) -> list[bytes]:
        """What is sent before the client says anything."""
        return self._send()

    def take(self, message: Any, text: bytes) -> list[bytes]:
        """Take what the client has sent; returns what it is sent now.

        :param message: its JSON value; None if it is none
        :param text: the bytes
        """
        shown = text.decode("utf-8", "replace")
        expected = self._requests[self._taken] if self._taken < len(self._requests) else None
        if expected is None:
            return self._refuse(f"nothing more was asked, but the client asks {shown}", message)
        if not _same(expected, message, text):
            asked = expected.data.decode("utf-8", "replace")
            return self._refuse(
                f"line {expected.line}: recorded {asked}, but the client asks {shown}", message
            )
        self._taken += 1
        if isinstance(message, dict) and "id" in message:
            self._ids[json.dumps(expected.message.get("id"))] = message["id"]
        return self._send()

    def end(self) -> None:
        """The client has gone."""
        left = len(self._requests) - self._taken
        if left:
            line = self._requests[self._taken].line
            self.complaints.append(
                f"line {line}: the client has left; {left} that were recorded were not asked"
            )

    def _refuse(self, text: str, message: Any) -> list[bytes]:
        self.complaints.append(text)
        error = {"class": "GenericError", "desc": f"Not as recorded: {text}"}
        answer: dict[str, Any] = {"error": error}
        if isinstance(message, dict) and "id" in message:
            answer["id"] = message["id"]
        return [json.dumps(answer).encode() + b"\r\n"]

    def _send(self) -> list[bytes]:
        """What is due after as many requests as have been taken."""
        data = []
        while self._sent < len(self._outgoing) and self._outgoing[self._sent][0] <= self._taken:
            data.append(self._bytes(self._outgoing[self._sent][1]))
            self._sent += 1
        return data

    def _bytes(self, said: Said) -> bytes:
        message = said.message
        if isinstance(message, dict) and "event" not in message and "id" in message:
            identity = self._ids.get(json.dumps(message["id"]), message["id"])
            if identity != message["id"]:
                return json.dumps({**message, "id": identity}).encode() + b"\r\n"
        return said.data + b"\r\n"


def _same(expected: Said, message: Any, text: bytes) -> bool:
    """Whether a request is the one that was recorded, whatever its id."""
    if expected.message is None or message is None:
        return expected.data == text
    return bool(_plain(expected.message) == _plain(message))


def _plain(message: Any) -> Any:
    """A request with any id, and without empty arguments."""
    if not isinstance(message, dict):
        return message
    members = {name: value for name, value in message.items() if name != "id"}
    if members.get("arguments") == {}:
        del members["arguments"]
    return members, "id" in message


def _when(said: list[Said]) -> Iterator[tuple[int, Said]]:
    """What the server says, each with how many requests must have come before.

    An answer needs its request and those before; an event needs what had come before it, but no
    more than the next answer does.
    """
    asked: list[Any] = []
    waiting: list[int] = []
    needs: list[tuple[int, Said]] = []
    for entry in said:
        if entry.side == "client":
            waiting.append(len(asked))
            asked.append(entry.message.get("id") if isinstance(entry.message, dict) else None)
        elif _is_answer(entry) and waiting:
            number = next((n for n in waiting if asked[n] == entry.message.get("id")), waiting[0])
            waiting.remove(number)
            needs.append((number + 1, entry))
        else:
            needs.append((len(asked), entry))
    least = len(asked)
    due = []
    for count, entry in reversed(needs):
        least = count if _is_answer(entry) else min(least, count)
        due.append(least)
    most = 0
    for count, (_, entry) in zip(reversed(due), needs, strict=True):
        most = max(most, count)
        yield most, entry


def _is_answer(said: Said) -> bool:
    message = said.message
    return isinstance(message, dict) and ("return" in message or "error" in message)
