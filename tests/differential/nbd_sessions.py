"""Sessions of NBD clients that are not always sane, and what a server says to them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

OPTION_MAGIC: Final = b"IHAVEOPT"
SIZE: Final = 1 << 20
"""Bytes of the exported image."""

NAMES: Final = (b"exp", b"ro", b"", b"nope", b"e\0xp", b"x" * 100, b"\xff\xfe", b"x" * 4097)
QUERIES: Final = (
    *(b"base:allocation", b"base:", b"base:x", b"qemu:", b"qemu:allocation-depth", b"x", b""),
    *(b"qemu:dirty-bitmap:b", b"qemu:dirty-bitmap:", b"qemu:dirty-bitmap:c", b"q\0", b"y" * 5000),
)
DONE: Final = 1


@dataclass(frozen=True)
class Step:
    """What a client sends, and then waits for an answer to.

    `kind`: option, request, or end, after which the client sends no more.
    """

    kind: str
    data: bytes
    number: int = 0
    read: int = 0


def _string(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def option(number: int, data: bytes) -> Step:
    return Step("option", OPTION_MAGIC + struct.pack(">II", number, len(data)) + data, number)


@st.composite
def _info(draw: st.DrawFn, number: int, names: st.SearchStrategy[bytes]) -> Step:
    wanted = draw(st.lists(st.integers(0, 5), max_size=3))
    data = _string(draw(names)) + struct.pack(f">H{len(wanted)}H", len(wanted), *wanted)
    extra = draw(st.sampled_from((b"", b"", b"", b"xy", b"x")))
    return option(number, draw(st.sampled_from((data + extra, data, data, data[:-1]))))


@st.composite
def _contexts(draw: st.DrawFn, number: int, names: st.SearchStrategy[bytes]) -> Step:
    queries = draw(st.lists(st.sampled_from(QUERIES), max_size=4))
    data = _string(draw(names)) + struct.pack(">I", len(queries))
    data += b"".join(_string(query) for query in queries)
    # whoever leaves something over ends QEMU by an assertion
    return option(number, draw(st.sampled_from((data, data, data, data[:-1]))))


@st.composite
def options(draw: st.DrawFn) -> Step:
    """An option, with data that may be malformed."""
    names = st.sampled_from(NAMES) | st.just(b"exp")
    kind = draw(st.integers(0, 9))
    if kind < 3:
        return draw(_contexts(draw(st.sampled_from((9, 10, 10))), names))
    if kind < 5:
        return draw(_info(6, names))
    number = draw(st.sampled_from((2, 3, 4, 5, 8, 8, 11, 11, 12, 99, 0xFFFFFFFF)))
    return option(number, draw(st.sampled_from((b"", b"", b"", b"x", b"y" * 70000))))


@st.composite
def entrances(draw: st.DrawFn) -> Step:
    """The option with which the handshake may end."""
    name = draw(st.sampled_from((b"exp", b"exp", b"exp", b"ro", b"", b"nope")))
    if draw(st.integers(0, 4)):
        return draw(_info(7, st.just(name)))
    return Step("entrance", OPTION_MAGIC + struct.pack(">II", 1, len(name)) + name, 1)


EDGES: Final = (0, 1, 511, 512, 4096, 65536, SIZE - 512, SIZE - 1, SIZE, SIZE + 1, 1 << 40)
LENGTHS: Final = (0, 1, 512, 4096, 70000, SIZE, SIZE + 1, (32 << 20) + 1, 1 << 31)


@st.composite
def requests(draw: st.DrawFn) -> Callable[[bool, bool], Step]:
    """A request: made once it is known whether headers are extended, and contexts chosen."""
    command = draw(st.sampled_from((0, 0, 1, 1, 3, 4, 5, 6, 6, 7, 7, 7, 8, 99)))
    flags = draw(st.sampled_from((0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 3, 64, 0x8000)))
    cookie = draw(st.integers(0, (1 << 64) - 1))
    offset = draw(st.sampled_from(EDGES) | st.integers(0, SIZE))
    length = draw(st.sampled_from(LENGTHS) | st.integers(0, 8192))
    ids = draw(st.lists(st.sampled_from((0, 1, 2, 3)), max_size=4))
    fill = draw(st.integers(0, 255))
    bad_magic = draw(st.integers(0, 40)) == 0

    def make(extended: bool, chosen: bool) -> Step:
        size, wanted, payload = length, flags, b""
        if not extended:
            size &= 0xFFFFFFFF
        has_payload = extended and bool(wanted & 32)
        if has_payload and command == 7:
            if not chosen:
                # that ends QEMU by an assertion
                wanted &= ~32
            else:
                payload = struct.pack(f">Q{len(ids)}I", size, *ids)
        elif command == 1 or has_payload:
            size = min(size, 70000)
            payload = bytes([fill]) * size
        if payload:
            size = len(payload)
        layout, magic = (">IHHQQQ", 0x21E41C71) if extended else (">IHHQQI", 0x25609513)
        magic ^= bad_magic
        data = struct.pack(layout, magic, wanted, command, cookie, offset, size)
        read = size if command == 0 else 0
        return Step("request", data + payload, command, read)

    return make


TAILS: Final = (b"", b"\0", OPTION_MAGIC, OPTION_MAGIC + bytes(8), b"\x25\x60\x95\x13" + bytes(20))


@dataclass(frozen=True)
class Session:
    """What one client does."""

    flags: int
    options: list[Step]
    entrance: Step
    requests: list[Callable[[bool, bool], Step]]
    tail: bytes


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    return Session(
        draw(st.sampled_from((3, 3, 3, 3, 1, 2, 0, 4, 0xFFFFFFFF))),
        draw(st.lists(options(), max_size=5)),
        draw(entrances()),
        draw(st.lists(requests(), max_size=8)),
        draw(st.sampled_from(TAILS)),
    )


def _first_string(data: bytes) -> bytes:
    (length,) = struct.unpack(">I", data[:4])
    return data[4 : 4 + length]


class Left(Exception):
    """The server has hung up."""


class Client:
    """One connection to a server, and all that the server has said on it."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(path)
        self.said = b""
        self.mode = 0
        self.contexts_of: bytes | None = None

    def play(self, session: Session) -> bytes:
        """Play a session; returns all that the server has said."""
        try:
            self._play(session)
        except (Left, ConnectionError):
            pass
        finally:
            self._socket.close()
        return self.said

    def _play(self, session: Session) -> None:
        self._read(18)
        self._send(struct.pack(">I", session.flags))
        for step in session.options:
            self._option(step)
        if not self._enter(session.entrance, no_zeroes=bool(session.flags & 2)):
            self._end(session.tail)
            return
        for make in session.requests:
            step = make(self.mode == 2, self.contexts_of is not None)
            self._send(step.data)
            self._reply(step)
        self._end(session.tail)

    def _end(self, tail: bytes) -> None:
        self._send(tail)
        self._socket.shutdown(socket.SHUT_WR)
        while True:
            self._read(1)

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _read(self, length: int) -> bytes:
        start = len(self.said)
        while len(self.said) < start + length:
            data = self._socket.recv(start + length - len(self.said))
            if not data:
                raise Left
            self.said += data
        return self.said[start:]

    def _option(self, step: Step) -> bool:
        """Send an option, and read the replies; returns whether it was accepted."""
        self._send(step.data)
        accepted = False
        while not accepted:
            magic, _, kind, length = struct.unpack(">QIII", self._read(20))
            assert magic == 0x3E889045565A9
            self._read(length)
            if kind & 0x80000000:
                break
            accepted = kind == 1
        self._note(step, accepted)
        return accepted

    def _note(self, step: Step, accepted: bool) -> None:
        if step.number == 8 and accepted:
            self.mode = 1
        elif step.number == 11 and accepted:
            self.mode = 2
        elif step.number == 10:
            self.contexts_of = step.data if accepted else None

    def _enter(self, step: Step, *, no_zeroes: bool) -> bool:
        if step.kind == "entrance":
            self._send(step.data)
            self._read(10 if no_zeroes else 134)
        elif not self._option(step):
            return False
        if self.contexts_of is not None and not self._is_same_export(step):
            self.contexts_of = None
        return True

    def _is_same_export(self, step: Step) -> bool:
        """Whether contexts were chosen for the export that is entered."""
        assert self.contexts_of is not None
        entered = step.data[16:] if step.kind == "entrance" else _first_string(step.data[16:])
        return entered == _first_string(self.contexts_of[16:])

    def _reply(self, step: Step) -> None:
        if self.mode == 0:
            _, error, _ = struct.unpack(">IIQ", self._read(16))
            if not error:
                self._read(step.read)
            return
        while True:
            (magic,) = struct.unpack(">I", self._read(4))
            if magic == 0x67446698:
                self._read(12)
                return
            layout = ">HHQI" if magic == 0x668E33EF else ">HHQQQ"
            fields: tuple[Any, ...] = struct.unpack(layout, self._read(struct.calcsize(layout)))
            self._read(fields[-1])
            if fields[0] & DONE:
                return
