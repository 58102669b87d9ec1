"""glibc's getopt(3), which the commands of qemu-io read their arguments with (qemu-io-cmds.c).

Options are single letters; operands may stand between them. The command line of the storage
daemon is read by `qmpd.options.getopt_long`, and the flags of HMP's own commands, which QEMU
reads by hand (``monitor_parse_arguments``), by `qmpd.monitor.hmp.line`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class GetoptError(Exception):
    """An option is unknown or lacks its argument; the text is glibc's."""


def getopt(words: Sequence[str], letters: str) -> tuple[dict[str, str], list[str]]:
    """Separate `words` into options and operands.

    :param letters: the known options; a colon follows those that take an argument
    :returns: argument ("" for none) by letter, and the operands in their order
    :raises GetoptError: for the first wrong option
    """
    options, operands = getopt_all(words, letters)
    return dict(options), operands


def getopt_all(words: Sequence[str], letters: str) -> tuple[list[tuple[str, str]], list[str]]:
    """As `getopt`, with every option as often as it is there."""
    options: list[tuple[str, str]] = []
    operands: list[str] = []
    rest = deque(words)
    while rest:
        word = rest.popleft()
        if word == "--":
            operands += rest
            break
        if len(word) < 2 or word[0] != "-":
            operands.append(word)
            continue
        cluster = word[1:]
        while cluster:
            letter, cluster = cluster[0], cluster[1:]
            place = letters.find(letter)
            if place < 0 or letter == ":":
                raise GetoptError(f"invalid option -- '{letter}'")
            if letters[place + 1 : place + 2] != ":":
                options.append((letter, ""))
                continue
            if not cluster and not rest:
                raise GetoptError(f"option requires an argument -- '{letter}'")
            options.append((letter, cluster or rest.popleft()))
            cluster = ""
    return options, operands
