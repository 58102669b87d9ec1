"""blkdebug's configuration files: what makes sense in them, and what QEMU says of the rest."""

from __future__ import annotations

import pytest

from tests.drivers.pair import Drivers

NONE = 'event = "none"\n'
INJECT = "[inject-error]\n"

CONFIGS = (
    "",
    INJECT + NONE,
    INJECT,
    "\n# comment\n" + INJECT + NONE,
    INJECT + " # no comment\n" + NONE,
    INJECT + "   \n" + NONE,
    "bogus\n",
    "[bogus]\n",
    'event = "none"\n',
    " [inject-error]\n" + NONE,
    "[]\n",
    "[inject-error] x\n" + NONE,
    "[inject-error x]\n" + NONE,
    "[ inject-error]\n" + NONE,
    "[inject-error\n" + NONE,
    '[inject-error "a"]\n' + NONE,
    '[inject-error "a"]\n' + NONE + '[inject-error "a"]\nevent = "pwritev"\n',
    '[inject-error "a"]\n' + NONE + '[set-state "a"]\n' + NONE,
    '[inject-error "1a"]\n' + NONE,
    '[inject-error ""]\n' + NONE,
    '[inject-error "a\n' + NONE,
    '[inject-error"a"]\n' + NONE,
    INJECT + 'bogus = "1"\n',
    INJECT + 'bogus = "1"\nerrno = "x"\n',
    INJECT + "event = none\n",
    INJECT + 'event = "none\n',
    INJECT + 'event = "none',
    INJECT + 'event="none"\n',
    INJECT + 'event = "none" # comment\n',
    INJECT + 'event = "no"ne"\n',
    INJECT + 'event = ""\n',
    INJECT + 'event = "bogus"\n',
    INJECT.replace("\n", "\r\n") + NONE.replace("\n", "\r\n"),
    INJECT + 'event = "pwritev"\n' + NONE + 'errno = "4"\nerrno = "28"\n',
    INJECT + NONE + "#" + "x" * 2000 + "\n",
    INJECT + 'event = "' + "x" * 1200 + '"\n',
    INJECT + "x" * 70 + ' = "y"\n',
    INJECT + 'state = "1"\n' + INJECT + 'event = "bogus"\n[bogus]\n',
    INJECT + NONE + "[bogus]\n\t\n",
    "[set-state]\n" + NONE + 'state = "1"\n',
    "[set-state]\n" + NONE + 'new_state = "2"\n' + INJECT + NONE + 'state = "1"\n',
    "[set-state]\n" + NONE + 'new-state = "2"\n',
    '[set-state]\nstate = "1"\nevent = "bogus"\nnew_state = "2"\n',
    '[set-state]\nnew_state = "2"\n',
)

OPTIONS = (
    'errno = "28"',
    'errno = ""',
    'errno = "x"',
    'errno = "-5"',
    'errno = " 5"',
    'errno = "5 "',
    'errno = "+5"',
    'errno = "5k"',
    'errno = "0x1c"',
    'errno = "034"',
    'errno = "08"',
    'errno = "99999999999999999999"',
    'errno = "18446744073709551611"',
    'iotype = "write-zeroes"',
    'iotype = "bogus"',
    'iotype = ""',
    'once = "on"',
    'once = "maybe"',
    'once = "ON"',
    'immediately = "yes"',
    'immediately = "n"',
    'sector = "8"',
    'sector = "-1"',
    'sector = "0x10"',
    'state = "0"',
    'state = "1"',
    'state = "2"',
)


def _try(pair: Drivers, text: str) -> None:
    pair.write("config", text)
    pair.add("file", "f", filename="a.raw")
    pair.add("blkdebug", "d", image="f", config="config")
    pair.io("d", "read 4k 512", "read 8k 512", "read 8k 512", "write -z 0 4k")
    pair.execute("query-named-block-nodes", flat=True)


@pytest.mark.parametrize("text", CONFIGS, ids=range(len(CONFIGS)))
def test_files(pair: Drivers, text: str) -> None:
    _try(pair, text)


@pytest.mark.parametrize("option", OPTIONS)
def test_options(pair: Drivers, option: str) -> None:
    _try(pair, f"{INJECT}{NONE}{option}\n")


def test_what_is_no_file(pair: Drivers) -> None:
    for side in ("real", "ours"):
        (pair.scratch / side / "folder").mkdir(exist_ok=True)
    pair.add("file", "f", filename="a.raw")
    for name in ("", "none", "folder", "a.raw/none"):
        pair.add("blkdebug", "d", image="f", config=name)


def test_its_rules_come_before_those_of_the_options(pair: Drivers) -> None:
    pair.write("config", INJECT + NONE + 'errno = "28"\niotype = "read"\n')
    pair.add("file", "f", filename="a.raw")
    for errno in (5, 28):
        rule = {"event": "none", "errno": errno, "iotype": "read"}
        pair.add("blkdebug", "d", image="f", config="config", **{"inject-error": [rule]})
        pair.io("d", "read 0 512", "write 0 512")
        pair.delete("d")
