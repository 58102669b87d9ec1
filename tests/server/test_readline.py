"""The line editor: what QEMU 10.0.2 echoed, and that a terminal shows what is edited."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.monitor.readline import Readline

KEYS = {
    "bol": "\x01",
    "eol": "\x05",
    "del": "\x04",
    "back": "\x7f",
    "kill": "\x15",
    "word": "\x17",
    "left": "\x1b[D",
    "right": "\x1b[C",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "home": "\x1bOH",
    "end": "\x1bOF",
    "delete": "\x1b[3~",
    "nothing": "\x1b[5~",
    "escape": "\x1bx",
}


def typed(keys: str) -> tuple[str, list[str], Readline]:
    editor = Readline("(qemu) ")
    output, lines = editor.show_prompt(), []
    for byte in keys.encode("latin-1"):
        text, line = editor.key(byte)
        output += text
        if line is not None:
            lines.append(line)
            output += editor.show_prompt()
    return output, lines, editor


@pytest.mark.parametrize(
    ("keys", "echo", "line"),
    [
        ("in\n", "i\x1b[K\x1b[Din\x1b[K\n", "in"),
        ("ab\x01c\r", "a\x1b[K\x1b[Dab\x1b[K\x1b[D\x1b[Dcab\x1b[K\x1b[D\x1b[D\n", "cab"),
        ("ab\x1b[Hc\r", "a\x1b[K\x1b[Dab\x1b[K\x1b[D\x1b[Dabc\x1b[K\n", "abc"),
        (
            "abc\x1b[D\x15d\r",
            "a\x1b[K\x1b[Dab\x1b[K\x1b[D\x1b[Dabc\x1b[K\x1b[D\x1b[D\x1b[Dc\x1b[K\x1b[Ddc\x1b[K\x1b[D\n",
            "dc",
        ),
        (" 5\x17\n", " \x1b[K\x1b[D 5\x1b[K\x1b[D\x1b[D\x1b[K\n", ""),
        ("a\x01\x1b[C\x1b[1~\x9b3~\n", "a\x1b[K\x1b[D\x1b[C\x1b[D\n", "a"),
        ("a\x08\x08b\n", "a\x1b[K\x1b[D\x1b[Kb\x1b[K\n", "b"),
    ],
)
def test_echo_recorded_from_qemu(keys: str, echo: str, line: str) -> None:
    output, lines, _ = typed(keys)
    assert output == f"(qemu) {echo}(qemu) "
    assert lines == [line]


def test_history() -> None:
    _, lines, _ = typed("one\ntwo\n\x1b[A\x1b[A\n\x1b[A\n\x1b[A\x1b[A\x1b[Bx\n")
    assert lines == ["one", "two", "one", "one", "onex"]


def test_completion_of_a_single_candidate() -> None:
    editor = Readline("> ", lambda before: ["status"] if before.endswith("st") else ["a", "b"])
    for byte in b"info st":
        editor.key(byte)
    assert editor.key(0x09)[0].endswith("info status \x1b[K")
    editor.restart()
    editor.key(0x78)
    assert editor.key(0x09) == ("", None)


class Terminal:
    """One row of a terminal."""

    def __init__(self) -> None:
        self.row: list[str] = []
        self.column = 0

    def show(self, output: str) -> None:
        for part in re.findall(r"\x1b\[[DCK]|\n|[^\x1b]", output):
            if part == "\x1b[D":
                self.column -= 1
            elif part == "\x1b[C":
                self.column += 1
            elif part == "\x1b[K":
                del self.row[self.column :]
            elif part == "\n":
                self.row, self.column = [], 0
            else:
                self.row[self.column : self.column + 1] = [part]
                self.column += 1


@given(
    st.lists(
        st.one_of(st.sampled_from(sorted(KEYS.values())), st.sampled_from("ab \n")), max_size=60
    )
)
def test_terminal_shows_the_line_and_its_cursor(keys: list[str]) -> None:
    output, _, editor = typed("".join(keys))
    terminal = Terminal()
    terminal.show(output)
    assert "".join(terminal.row) == "(qemu) " + editor._line
    assert terminal.column == len("(qemu) ") + editor._cursor
