"""The line editor of the human monitor: keys in, terminal output and lines out.

Harnesses compare what it echoes, so the cursor movements are QEMU's: after
every key the whole line is drawn again from its start, whatever changed.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

HISTORY_SIZE: Final = 64
LINE_SIZE: Final = 4095

_LEFT: Final = "\x1b[D"
_RIGHT: Final = "\x1b[C"
_ERASE_TO_END: Final = "\x1b[K"


class _State(Enum):
    """How far into an escape sequence the input is."""

    NORMAL = auto()
    ESCAPE = auto()
    CSI = auto()
    SS3 = auto()


class Readline:
    """State of one line being edited.

    :param prompt: printed before each line
    :param complete: the words that could take the place of the line's last one
    """

    def __init__(self, prompt: str, complete: Callable[[str], list[str]] | None = None) -> None:
        self._prompt = prompt
        self._complete = complete
        self._history: list[str] = []
        self._recalled: int | None = None
        self._parameter = 0
        self._state = _State.NORMAL
        self._line = ""
        self._cursor = 0
        self._drawn = ""
        self._drawn_cursor = 0
        self._keys: dict[int, Callable[[], None]] = {
            0x01: self._to_start,
            0x04: self._delete,
            0x05: self._to_end,
            0x08: self._backspace,
            0x09: self._tab,
            0x15: self._kill_to_start,
            0x17: self._kill_word,
            0x7F: self._backspace,
        }
        self._csi: dict[str, Callable[[], None]] = {
            "A": self._up,
            "B": self._down,
            "C": self._right,
            "D": self._left,
            "E": self._down,
            "F": self._up,
        }
        self._ss3: dict[str, Callable[[], None]] = {"F": self._to_end, "H": self._to_start}
        self._numbered: dict[int, Callable[[], None]] = {
            1: self._to_start,
            3: self._delete,
            4: self._to_end,
        }
        self._printed = ""

    def show_prompt(self) -> str:
        """Output that starts a new line."""
        self._drawn = ""
        self._drawn_cursor = 0
        self._state = _State.NORMAL
        return self._prompt

    def restart(self) -> None:
        """Forget the line being edited."""
        self._line = ""
        self._cursor = 0

    def key(self, byte: int) -> tuple[str, str | None]:
        """Take one byte of input.

        :returns: output, and the line when it was finished with this byte
        """
        self._printed = ""
        if self._state is _State.NORMAL and byte in (0x0A, 0x0D):
            return self._finish()
        self._handle(byte)
        return self._printed + self._redraw(), None

    def _finish(self) -> tuple[str, str]:
        line = self._line
        self._remember(line)
        self._line = self._drawn = ""
        self._cursor = self._drawn_cursor = 0
        return "\n", line

    def _handle(self, byte: int) -> None:
        if self._state is _State.ESCAPE:
            self._after_escape(byte)
        elif self._state is _State.CSI:
            self._after_csi(byte)
        elif self._state is _State.SS3:
            self._state = _State.NORMAL
            self._ss3.get(chr(byte), lambda: None)()
        elif byte == 0x1B:
            self._state = _State.ESCAPE
        elif byte == 0x9B:
            # unlike after ESC [, QEMU goes on with the parameter of the last sequence
            self._state = _State.CSI
        elif byte in self._keys:
            self._keys[byte]()
        elif byte >= 0x20:
            self._insert(chr(byte))

    def _after_escape(self, byte: int) -> None:
        self._state = {0x5B: _State.CSI, 0x4F: _State.SS3}.get(byte, _State.NORMAL)
        if self._state is _State.CSI:
            self._parameter = 0

    def _after_csi(self, byte: int) -> None:
        if 0x30 <= byte <= 0x39:
            self._parameter = self._parameter * 10 + byte - 0x30
            return
        self._state = _State.NORMAL
        if byte == 0x7E:
            self._numbered.get(self._parameter, lambda: None)()
        else:
            self._csi.get(chr(byte), lambda: None)()

    def _redraw(self) -> str:
        output = ""
        if self._line != self._drawn:
            output = _LEFT * self._drawn_cursor + self._line + _ERASE_TO_END
            self._drawn = self._line
            self._drawn_cursor = len(self._line)
        moved = self._cursor - self._drawn_cursor
        self._drawn_cursor = self._cursor
        return output + (_RIGHT * moved if moved > 0 else _LEFT * -moved)

    def _insert(self, text: str) -> None:
        if len(self._line) + len(text) <= LINE_SIZE:
            self._line = self._line[: self._cursor] + text + self._line[self._cursor :]
            self._cursor += len(text)

    def _left(self) -> None:
        self._cursor = max(0, self._cursor - 1)

    def _right(self) -> None:
        self._cursor = min(len(self._line), self._cursor + 1)

    def _to_start(self) -> None:
        self._cursor = 0

    def _to_end(self) -> None:
        self._cursor = len(self._line)

    def _delete(self) -> None:
        self._line = self._line[: self._cursor] + self._line[self._cursor + 1 :]

    def _backspace(self) -> None:
        if self._cursor > 0:
            self._cursor -= 1
            self._delete()

    def _kill_to_start(self) -> None:
        self._line = self._line[self._cursor :]
        self._cursor = 0

    def _kill_word(self) -> None:
        before = self._line[: self._cursor].rstrip()
        # a space at the very start goes with the word behind it, as in QEMU
        start = before.rfind(" ", 1) + 1
        self._line = self._line[:start] + self._line[self._cursor :]
        self._cursor = start

    def _remember(self, line: str) -> None:
        if not line:
            # QEMU's place in the history stays where it was, too
            return
        self._recalled = None
        if line in self._history:
            self._history.remove(line)
        self._history.append(line)
        del self._history[:-HISTORY_SIZE]

    def _up(self) -> None:
        position = len(self._history) if self._recalled is None else self._recalled
        if position > 0:
            self._recall(position - 1)

    def _down(self) -> None:
        if self._recalled is None:
            return
        if self._recalled + 1 < len(self._history):
            self._recall(self._recalled + 1)
        else:
            self._recalled = None
            self.restart()

    def _recall(self, position: int) -> None:
        self._recalled = position
        self._line = self._history[position]
        self._cursor = len(self._line)

    def _tab(self) -> None:
        if self._complete is None:
            return
        before = self._line[: self._cursor]
        word = before[before.rfind(" ") + 1 :]
        found = self._complete(before)
        if len(found) == 1:
            self._insert(found[0][len(word) :] + " ")
