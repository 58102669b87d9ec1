"""Two servers for the same bytes: a real QEMU, and a `Session` with a few commands."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from qmpd.errors import CommandNotFound, GenericError, QmpError
from qmpd.wire.session import BadRequest, Request, Session

QEMU = shutil.which("qemu-system-x86_64")
QEMU_ARGS = ("-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio")
PRETTY_ARGS = (
    *QEMU_ARGS[:-2],
    *("-chardev", "stdio,id=c", "-mon", "chardev=c,mode=control,pretty=on"),
)

VERSION = {"qemu": {"major": 10, "minor": 0, "micro": 2}, "package": "test"}


def is_10_0_2() -> bool:
    """Whether the QEMU of this machine is the judge."""
    if QEMU is None:
        return False
    text = subprocess.run([QEMU, "-version"], capture_output=True, text=True, check=True).stdout
    return text.startswith("QEMU emulator version 10.0.2")


def package() -> str:
    """The package string of the QEMU at hand."""
    assert QEMU is not None
    text = subprocess.run([QEMU, "-version"], capture_output=True, text=True, check=True).stdout
    return text.partition("(")[2].partition(")")[0]


class RealQemu:
    """A QEMU that is spoken to in bytes, on its standard input and output."""

    def __init__(self, args: Sequence[str] = QEMU_ARGS) -> None:
        assert QEMU is not None
        self._process = subprocess.Popen(
            [QEMU, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._end = b"\r\n}\r\n" if "pretty=on" in args[-1] else b"}\r\n"
        self._syncs = 0
        self._received = b""

    def _read_until(self, mark: bytes) -> bytes:
        assert self._process.stdout is not None
        while mark not in self._received:
            data = os.read(self._process.stdout.fileno(), 1 << 16)
            if not data:
                raise EOFError(self._received)
            self._received += data
        before, _, self._received = self._received.partition(mark)
        return before

    def greeting(self) -> bytes:
        return self._read_until(self._end) + self._end

    def ask(self, data: bytes) -> bytes:
        """All that is answered to `data` and to a resync after it."""
        assert self._process.stdin is not None
        self._syncs += 1
        mark = f"sync-{self._syncs:08}".encode()
        request = b'\xff{"execute":"sync","id":"%s"}' % mark
        data += request
        while data:
            data = data[os.write(self._process.stdin.fileno(), data) :]
        answer = self._read_until(mark)
        self._read_until(self._end)
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class OwnSession:
    """The same, made of a `Session`."""

    def __init__(self, *, pretty: bool = False, package: str = "test") -> None:
        self.session = Session(qemu_version=(10, 0, 2), package=package, pretty=pretty)
        self._package = package
        self._syncs = 0

    def greeting(self) -> bytes:
        return self.session.greeting()

    def ask(self, data: bytes, step: int = 1 << 20) -> bytes:
        """The answers to `data` and a resync, fed in pieces of `step` bytes."""
        self._syncs += 1
        mark = f"sync-{self._syncs:08}".encode()
        data += b'\xff{"execute":"sync","id":"%s"}' % mark
        return b"".join(self.answers(data, step)).partition(mark)[0]

    def answers(self, data: bytes, step: int = 1 << 20) -> list[bytes]:
        answers = []
        for start in range(0, len(data), step):
            self.session.feed(data[start : start + step])
            while (request := self.session.next_request()) is not None:
                answers.append(self._answer(request))
        return answers

    def _answer(self, request: Request | BadRequest) -> bytes:
        if isinstance(request, BadRequest):
            return self.session.reply_error(request, request.error)
        try:
            return self.session.reply(request, self._run(request))
        except QmpError as error:
            return self.session.reply_error(request, error)

    def _run(self, request: Request) -> object:
        name, arguments = request.command, request.arguments or {}
        self.session.check_command(name)
        if name not in ("qmp_capabilities", "query-version", "query-status"):
            raise CommandNotFound(f"The command {name} has not been found")
        if request.oob:
            raise GenericError(f"The command {name} does not support OOB")
        if name == "qmp_capabilities":
            enable = arguments.pop("enable", [])
            for unexpected in arguments:
                raise GenericError(f"Parameter '{unexpected}' is unexpected")
            assert isinstance(enable, list)
            self.session.negotiate(enable)
            return {}
        for unexpected in arguments:
            raise GenericError(f"Parameter '{unexpected}' is unexpected")
        if name == "query-status":
            return {"running": True, "status": "running"}
        return {**VERSION, "package": self._package}
