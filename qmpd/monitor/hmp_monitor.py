"""The human monitor: a prompt, a line editor, one HMP command at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from qmpd.monitor.monitor import Monitor
from qmpd.monitor.readline import Readline

if TYPE_CHECKING:
    from qmpd.errors import QmpError
    from qmpd.loop.events import EventRecord
    from qmpd.monitor.dispatcher import Dispatcher, Work
    from qmpd.monitor.journal import Tap
    from qmpd.monitor.transport import Transport


KEYS: Final = 1024
"""Keys that are taken before others have their turn."""


class HmpMonitor(Monitor):
    """A monitor for people (``-monitor``).

    Input is taken key by key; what follows a finished line waits until its
    command has been run.

    :param banner: first line for a peer that comes
    :param run: makes the coroutine that runs a command line and returns its output
    :param ending: whether the machine is on its way out, and no prompt is due
    :param tap: sees lines and what their commands print
    :param bottom_half: calls what it is given from the main loop, where the first prompt is shown
        (``monitor_resume``); at once if absent
    """

    def __init__(
        self,
        label: str,
        transport: Transport | None,
        dispatcher: Dispatcher,
        banner: str,
        run: Callable[[str], Work],
        ending: Callable[[], bool],
        tap: Tap | None = None,
        bottom_half: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        super().__init__(label, transport, tap)
        self._dispatcher = dispatcher
        self._banner = banner
        self._run = run
        self._ending = ending
        self._bottom_half = bottom_half
        self._readline = Readline("(qemu) ")
        self._input = bytearray()
        self._more_due = False
        self._line: str | None = None
        self._running = False
        self._ran = ""
        self._open = False
        self._connection = 0
        self._asked_by = 0

    def opened(self) -> None:
        """Show banner and prompt."""
        self._connection += 1
        self._open = True
        if self.tap is not None:
            self.tap.connected(self.label, None)
        self._readline.restart()
        self._print(self._banner + "\n")
        if self._bottom_half is None:
            self._show_first_prompt(self._connection)
        else:
            connection = self._connection
            self._bottom_half(lambda: self._show_first_prompt(connection))

    def _show_first_prompt(self, connection: int) -> None:
        if self._open and self._connection == connection and not self._running:
            self._print(self._readline.show_prompt())

    def closed(self) -> None:
        """Drop what was typed and not run."""
        if self.tap is not None and self._open:
            self.tap.disconnected(self.label)
        self._open = False
        self._input.clear()
        self._line = None
        self._dispatcher.forget(self)

    def focus_lost(self) -> None:
        """Another frontend of a multiplexed device has the input."""
        if not self._running:
            self._print("\n")

    def focus_gained(self) -> None:
        """The input is here again: a fresh line."""
        self._readline.restart()
        if not self._running:
            self._print(self._readline.show_prompt())

    def feed(self, data: bytes) -> None:
        """Take keys; a finished line is run."""
        self._input += data
        self._type()

    def drained(self) -> None:
        """Go on with the keys that wait."""
        self._type()

    def _type(self) -> None:
        """Edit until a line is finished, then have it run."""
        if not self._running:
            self._press_keys()
        if self._line is not None:
            self._dispatcher.wake(self)
        if self._line is not None or self._running or self._input:
            self._transport.pause_input()

    def _press_keys(self) -> None:
        """Edit until a line is finished, or for a while."""
        pressed = 0
        while pressed < min(KEYS, len(self._input)) and self._line is None:
            output, self._line = self._readline.key(self._input[pressed])
            self._print(output)
            pressed += 1
        del self._input[:pressed]
        if self._line is None and self._input and not self._more_due:
            self._dispatcher.call_soon(self._go_on_typing)
            self._more_due = True

    def _go_on_typing(self) -> None:
        self._more_due = False
        if not self._open:
            return
        self._type()
        if not (self._line is not None or self._running or self._input):
            self._transport.resume_input()

    def next_work(self) -> Work | None:
        """Return the command of the line that was finished last."""
        if self._line is None and not self._running:
            self._type_on()
        if self._line is None:
            return None
        line, self._line = self._line, None
        if self.tap is not None:
            self.tap.received(self.label, line)
        self._running = True
        self._ran = line
        self._asked_by = self._connection
        return self._dispatcher.refusal(line.lstrip().partition(" ")[0]) or self._run(line)

    def _type_on(self) -> None:
        self._press_keys()
        if self._line is None and not self._input:
            self._transport.resume_input()

    def completed(self, value: Any) -> None:
        """Show what the command has printed, and the prompt."""
        if self.tap is not None:
            self.tap.answered(self.label, self._ran, str(value))
        if self._asked_by == self._connection:
            self._print(str(value))
        until = getattr(value, "until", None)
        if until is not None:
            until(self._go_on)
            return
        self._running = False
        self._prompt()

    def _go_on(self) -> None:
        """What the command has begun is over (``monitor_resume``)."""
        self._running = False
        if self._open:
            self._prompt()
            self._type()
            self._transport.resume_input()

    def _prompt(self) -> None:
        if not self._ending():
            self._print(self._readline.show_prompt())

    def failed(self, error: QmpError) -> None:
        """Show the error, and the prompt."""
        self.completed(f"Error: {error.report}")

    def deliver(self, event: EventRecord) -> None:
        """People are not told of events."""

    def flush(self) -> None:
        """Nothing is ever collected here."""

    def _print(self, text: str) -> None:
        # bytes of input above 0x7F were taken as Latin-1 and go back so
        data = text.replace("\r\n", "\n").replace("\n", "\r\n")
        try:
            self._transport.write(data.encode("latin-1"))
        except UnicodeEncodeError:
            self._transport.write(data.encode())
