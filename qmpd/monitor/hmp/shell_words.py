"""Words as a shell reads them (GLib's ``g_shell_parse_argv``)."""

from __future__ import annotations

import re
from typing import Final

from qmpd.errors import GenericError

_TOKEN: Final = re.compile(
    r"(?P<blank>[ \t\n]+)"
    r"|(?P<plain>[^\s\\'\"]+|[\v\f\r])"
    r"|\\(?P<escaped>.)"
    r"|'(?P<single>[^']*)'"
    r'|"(?P<double>(?:[^"\\]|\\.)*)"',
    re.S,
)
_ESCAPE: Final = re.compile(r'\\(?:([$`"\\])|\n)')


def shell_words(text: str) -> list[str]:
    """The words of a command line, without their quotes.

    :raises GenericError: a quote is not closed, or there are no words
    """
    words: list[str] = []
    word: str | None = None
    position = 0
    while position < len(text):
        if word is None and text[position] == "#":
            position = len(text) if (end := text.find("\n", position)) < 0 else end
            continue
        token = _TOKEN.match(text, position)
        if token is None:
            raise GenericError(_unfinished(text, text[position]))
        position = token.end()
        if token["blank"] is not None:
            words += [] if word is None else [word]
            word = None
        elif token["escaped"] != "\n":
            word = (word or "") + _without_quotes(token)
    words += [] if word is None else [word]
    if not words:
        raise GenericError("Text was empty (or contained only whitespace)")
    return words


def _without_quotes(token: re.Match[str]) -> str:
    kind = token.lastgroup
    assert kind is not None
    text = token[kind]
    return _ESCAPE.sub(lambda found: found[1] or "", text) if kind == "double" else text


def _unfinished(text: str, mark: str) -> str:
    if mark == "\\":
        return f"Text ended just after a “\\” character. (The text was “{text}”)"
    return f"Text ended before matching quote was found for {mark}. (The text was “{text}”)"
