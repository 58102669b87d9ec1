"""A real program that is asked questions, and started anew when one of them ends it."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final

_ANSWER_SECONDS: Final = 60.0


class Gone(Exception):
    """The program has ended instead of answering."""


class Refused(Exception):
    """It has answered with an error; the text is its `desc`."""


class Emulator:
    """A real QEMU, or a storage daemon, as a context.

    :param words: its command line, without the monitor
    :param monitor: options of the monitor, with ``{fd}`` for a descriptor
    """

    def __init__(self, words: Sequence[str], monitor: Sequence[str]) -> None:
        self._words = [*words, *monitor]
        self._start()

    def __enter__(self) -> Emulator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._end()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(_ANSWER_SECONDS)
        with theirs:
            fd = theirs.fileno()
            self._process = subprocess.Popen(
                [word.format(fd=fd) for word in self._words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[fd],
            )
        self._file = ours.makefile("rwb")
        ours.close()
        try:
            self._line()
            self.ask("qmp_capabilities")
        except Gone:
            self._end()
            raise

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._file.close()

    def _line(self) -> dict[str, Any]:
        try:
            line = self._file.readline()
        except OSError:
            line = b""
        if not line:
            raise Gone
        message: dict[str, Any] = json.loads(line)
        return message

    def ask(self, command: str, **arguments: Any) -> Any:
        """The value of the answer.

        :raises Refused: it is an error
        :raises Gone: the program has ended
        """
        request = {"execute": command, "arguments": arguments}
        try:
            self._file.write(json.dumps(request).encode() + b"\n")
            self._file.flush()
        except OSError:
            raise Gone from None
        message = self._line()
        while "event" in message:
            message = self._line()
        if "error" in message:
            raise Refused(message["error"]["desc"])
        return message["return"]

    def ask_safely(self, command: str, **arguments: Any) -> Any:
        """The same, with None for an error, and when the program ends, which is started anew."""
        try:
            return self.ask(command, **arguments)
        except Refused:
            return None
        except Gone:
            self._end()
            self._start()
            return None
