"""The record of all QMP traffic (``--log-qmp``): JSON lines, both directions."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from qmpd.wire.session import BadRequest, Request


class Journal:
    """Writes one line per message.

    Members of a line: ``time`` (seconds since the epoch), ``monitor`` (id of
    its character device), ``direction`` (``in``: from the client, ``out``: to
    it), ``message``; input that is no request has ``error`` instead, the text
    of the answer.

    :param file: where the lines go
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    @classmethod
    def open(cls, path: str) -> Journal:
        """Append to the file at `path`.

        :raises OSError: it cannot be opened
        """
        return cls(open(path, "a", encoding="utf-8"))

    def received(self, monitor: str, request: Request | BadRequest) -> None:
        """Record what a client asked for."""
        from qmpd.wire.session import NO_ID, BadRequest

        if isinstance(request, BadRequest):
            self._write(monitor, "in", error=request.error.desc)
            return
        message: dict[str, object] = {"exec-oob" if request.oob else "execute": request.command}
        if request.arguments is not None:
            message["arguments"] = request.arguments
        if request.id is not NO_ID:
            message["id"] = request.id
        self._write(monitor, "in", message=message)

    def sent(self, monitor: str, data: bytes) -> None:
        """Record a greeting, reply or event."""
        self._write(monitor, "out", message=json.loads(data))

    def _write(self, monitor: str, direction: str, **rest: object) -> None:
        line = {"time": round(time.time(), 6), "monitor": monitor, "direction": direction, **rest}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
