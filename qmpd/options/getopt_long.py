"""glibc's getopt_long(3), which the storage daemon reads its command line with.

Long options may be shortened as long as they are unambiguous, short ones stand for long ones,
and the messages are those of the C library. qemu-io's commands are read by `qmpd.options.getopt`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from qmpd.errors import GenericError
from qmpd.options.command_line import Option

STRAY: Final = ""
"""Name of the `Option` for a word that is neither an option nor the argument of one."""


class Getopt:
    """Parses command lines with a given set of options.

    :param long: long options; True: takes an argument
    :param short: short options and the long ones they stand for
    """

    def __init__(self, long: Mapping[str, bool], short: Mapping[str, str]) -> None:
        self._long = long
        self._short = short

    def parse(self, words: Sequence[str]) -> Iterator[Option]:
        """Cut a command line into options, one after the other; ``--`` ends it.

        :raises GenericError: at the first wrong option, with glibc's text
        """
        rest = deque(words)
        while rest and (word := rest.popleft()) != "--":
            if word.startswith("--"):
                yield self._parse_long(word, rest)
            elif word.startswith("-") and word != "-":
                yield from self._parse_short(word, rest)
            else:
                yield Option(STRAY, word, word)

    def _parse_long(self, word: str, rest: deque[str]) -> Option:
        name, equals, value = word[2:].partition("=")
        found = [name] if name in self._long else [n for n in self._long if n.startswith(name)]
        if not found:
            raise GenericError(f"unrecognized option '{word}'")
        if len(found) > 1:
            choices = " ".join(f"'--{choice}'" for choice in found)
            raise GenericError(f"option '{word}' is ambiguous; possibilities: {choices}")
        full = found[0]
        if not self._long[full]:
            if equals:
                raise GenericError(f"option '--{full}' doesn't allow an argument")
            return Option(full, None, word)
        if equals:
            return Option(full, value, word)
        if not rest:
            raise GenericError(f"option '--{full}' requires an argument")
        value = rest.popleft()
        return Option(full, value, f"{word} {value}")

    def _parse_short(self, word: str, rest: deque[str]) -> Iterator[Option]:
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter not in self._short:
                raise GenericError(f"invalid option -- '{letter}'")
            full = self._short[letter]
            if not self._long[full]:
                yield Option(full, None, word)
                continue
            if letters:
                yield Option(full, letters, word)
                return
            if not rest:
                raise GenericError(f"option requires an argument -- '{letter}'")
            value = rest.popleft()
            yield Option(full, value, f"{word} {value}")
