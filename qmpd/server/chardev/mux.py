"""Several frontends on one backend (``mux=on``, ``mon:stdio``), chosen by ctrl-a c."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from qmpd.base.override import override
from qmpd.errors import GenericError, NotServed
from qmpd.server.chardev.chardev import Chardev, Frontend, NullChardev

HELP: Final = (
    ("h", "this list"),
    ("x", "end the emulator"),
    ("c", "next: console or monitor"),
    ("b", "send a break to the console"),
)


class FocusedFrontend(Frontend, Protocol):
    """A frontend that cares whether it has the input."""

    def focus_lost(self) -> None:
        """Another frontend has the input now."""

    def focus_gained(self) -> None:
        """The input is here again."""


class MuxPort(Chardev):
    """What one frontend of a `MuxChardev` is attached to."""

    def __init__(self, mux: MuxChardev, label: str) -> None:
        super().__init__(label)
        self._mux = mux

    @property
    def filename(self) -> str:
        """That of the backend."""
        return self._mux.base.filename

    @property
    @override
    def backlog(self) -> int:
        return self._mux.base.backlog

    @property
    @override
    def congested(self) -> bool:
        return self._mux.base.congested

    def tell(self, what: str) -> None:
        """Call a method of the frontend, if it has it (see `FocusedFrontend`)."""
        method = getattr(self.frontend, what, None)
        if method is not None:
            method()

    @override
    def send(self, data: bytes) -> None:
        """Write to the backend, where the output of all frontends is mixed."""
        self._mux.base.write(data)

    @override
    def pause_input(self) -> None:
        if self._mux.focus is self:
            self._mux.base.pause_input()

    @override
    def resume_input(self) -> None:
        self._mux.base.resume_input()

    @override
    def start(self) -> None:
        """Do nothing: the backend is started by itself."""


class MuxChardev(Chardev, Frontend):
    """A backend whose input goes to one of several frontends.

    A port tells its frontend that it is open when it gets the focus first.

    :param base: the backend that does the work
    :param escape: byte that starts a command
    :param quit_: ends the machine
    """

    def __init__(self, label: str, base: Chardev, escape: int, quit_: Callable[[], None]) -> None:
        super().__init__(label)
        self.base = base
        self._escape = escape
        self._quit = quit_
        self._ports: list[MuxPort] = []
        self._got_escape = False
        self.focus: MuxPort | None = None
        base.attach(self)

    @property
    def filename(self) -> str:
        """As QEMU names it."""
        return "mux"

    @property
    @override
    def frontend_open(self) -> bool:
        return self.busy

    @property
    @override
    def busy(self) -> bool:
        return any(port.frontend is not None for port in self._ports)

    @override
    def close(self) -> None:
        self.base.frontend = None

    def add_port(self) -> MuxPort:
        """One more place for a frontend; the newest has the focus."""
        port = MuxPort(self, self.label)
        self._ports.append(port)
        self.focus = port
        return port

    def settle(self) -> None:
        """All ports are there: let the one with the focus begin."""
        if self.focus is not None:
            self._focus_on(self.focus)

    def _focus_on(self, port: MuxPort) -> None:
        before, self.focus = self.focus, port
        if before is not None and before is not port and before.is_open:
            before.tell("focus_lost")
        if not self.base.is_open:
            return
        if port.is_open:
            port.tell("focus_gained")
        else:
            port.is_open = True
            port.tell("opened")

    @override
    def opened(self) -> None:
        if self.focus is not None:
            self._focus_on(self.focus)

    @override
    def closed(self) -> None:
        for port in self._ports:
            was_open, port.is_open = port.is_open, False
            if was_open and port.frontend is not None:
                port.frontend.closed()

    @override
    def drained(self) -> None:
        for port in self._ports:
            if port.frontend is not None:
                port.frontend.drained()

    @override
    def feed(self, data: bytes) -> None:
        """Carry out the commands in the input, and pass the rest to the frontend in focus."""
        plain = bytearray()
        for byte in data:
            if not self._got_escape:
                if byte == self._escape:
                    self._got_escape = True
                else:
                    plain.append(byte)
                continue
            self._got_escape = False
            if byte == self._escape:
                plain.append(byte)
            else:
                self._pass_on(plain)
                plain = bytearray()
                self._command(chr(byte))
        self._pass_on(plain)

    def _pass_on(self, data: bytearray) -> None:
        if data and self.focus is not None and self.focus.frontend is not None:
            self.focus.frontend.feed(bytes(data))

    def _command(self, key: str) -> None:
        if key in "?h":
            lines = [f"ctrl-a {name}  {text}\n\r" for name, text in HELP]
            self.base.write(("\n\r" + "".join(lines)).encode())
        elif key == "x":
            self.base.write(b"QEMU: Terminated\n\r")
            self._quit()
        elif key == "c" and self.focus is not None:
            self._focus_on(self._ports[(self._ports.index(self.focus) + 1) % len(self._ports)])


class HubChardev(NullChardev, Frontend):
    """Backend ``hub``: several backends for one frontend, of which qmpd has none.

    :param bases: the backends
    :raises GenericError: one of them is in use
    """

    def __init__(self, label: str, bases: list[Chardev]) -> None:
        super().__init__(label, "hub")
        self._bases: list[Chardev] = []
        try:
            for base in bases:
                base.attach(self)
                self._bases.append(base)
        except GenericError:
            self.close()
            raise

    @override
    def attach(self, frontend: Frontend) -> None:
        """Refuse a frontend.

        :raises NotServed: always
        """
        raise NotServed("chardev backend 'hub' is not served by qmpd with a frontend")

    @override
    def close(self) -> None:
        for base in self._bases:
            base.frontend = None

    @override
    def opened(self) -> None:
        """Take no notice."""

    @override
    def closed(self) -> None:
        """Take no notice."""

    @override
    def drained(self) -> None:
        """Take no notice."""

    @override
    def feed(self, data: bytes) -> None:
        """Drop what comes in."""


class SilentConsole(Frontend):
    """The frontend where a guest's serial port would be: it says nothing and takes all."""

    @override
    def opened(self) -> None:
        pass

    @override
    def closed(self) -> None:
        pass

    @override
    def drained(self) -> None:
        pass

    @override
    def feed(self, data: bytes) -> None:
        pass
