"""QEMU's two option syntaxes, and GNU getopt's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.cli.options.chardev import parse_short_form
from qmpd.cli.system.qemu_options import split_options
from qmpd.errors import GenericError
from qmpd.options import groups as option_groups
from qmpd.options.getopt_long import Getopt
from qmpd.options.keyval import parse_keyval
from qmpd.options.qemu_opts import (
    Opts,
    help_text,
    parse_option_number,
    parse_option_size,
    parse_opts,
)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", {}),
        ("x", {"driver": "x"}),
        ("x,", {"driver": "x"}),
        ("x,a=1,a=2", {"driver": "x", "a": "2"}),
        ("x,a=b,,c,,,d=e", {"driver": "x", "a": "b,c,", "d": "e"}),
        ("a.b.c=1,a.b.d=2", {"a": {"b": {"c": "1", "d": "2"}}}),
        ("a.1=y,a.0=x", {"a": ["x", "y"]}),
        ("a.0.b=1,a.1.0=2", {"a": [{"b": "1"}, ["2"]]}),
        ("a.00=1", {"a": ["1"]}),
        ("__com.example_x-y=1", {"__com.example_x-y": "1"}),
        ("x,help=1", {"driver": "x", "help": "1"}),
    ],
)
def test_keyval(text: str, tree: dict[str, Any]) -> None:
    parsed = parse_keyval(text, "driver")
    assert parsed.tree == tree
    assert not parsed.wants_help


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x,b", "Expected '=' after parameter 'b'"),
        ("driver.=x", "Invalid parameter 'driver.'"),
        ("a..b=x", "Invalid parameter 'a..b'"),
        ("x,,a=1", "Invalid parameter ''"),
        ("=", "Invalid parameter ''"),
        ("x,0=1", "Invalid parameter '0'"),
        ("x,a.0x=1", "Invalid parameter 'a.0x'"),
        ("x,a.0=1,a.x=2", "Parameters 'a.*' used inconsistently"),
        ("a.b.c=1,a.b=1", "Parameters 'a.b.*' used inconsistently"),
        ("a=2,a.b=1", "Parameters 'a.*' used inconsistently"),
        ("x,a.1=1", "Parameter 'a.0' missing"),
        ("x,a.0=1,a.2=1", "Parameter 'a.1' missing"),
        ("x," + "a" * 128 + "=1", f"Parameter '{'a' * 128}' is too long"),
        ("x,y." + "a" * 128 + "=1", f"Parameter fragment '{'a' * 128}' is too long"),
    ],
)
def test_keyval_complaints(text: str, complaint: str) -> None:
    with pytest.raises(GenericError) as caught:
        parse_keyval(text, "driver")
    assert caught.value.desc == complaint


@pytest.mark.parametrize("text", ["help", "?", "x,help", "help,a=1", "x,?"])
def test_keyval_help(text: str) -> None:
    assert parse_keyval(text, "driver").wants_help


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True)
TREES = st.recursive(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=6),
    lambda inner: st.one_of(
        st.dictionaries(NAMES, inner, min_size=1, max_size=3),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


def flatten(prefix: str, value: Any) -> list[str]:
    if isinstance(value, str):
        return [f"{prefix}={value.replace(',', ',,')}"]
    members = enumerate(value) if isinstance(value, list) else value.items()
    return [text for name, inner in members for text in flatten(f"{prefix}.{name}", inner)]


@given(st.dictionaries(NAMES, TREES, max_size=3))
def test_keyval_reads_what_was_written(tree: dict[str, Any]) -> None:
    parts = [text for name, value in tree.items() for text in flatten(name, value)]
    assert parse_keyval(",".join(parts)).tree == tree


def opts_of(text: str) -> tuple[Opts, list[str]]:
    warnings: list[str] = []
    opts = parse_opts(
        option_groups.CHARDEV, text, lambda text, hint: warnings.append(f"{text}: {hint}")
    )
    return opts, warnings


def test_opts() -> None:
    opts, warnings = opts_of("socket,id=a,path=/x,,y,server=on,to=0x10,to=011")
    assert opts.id == "a"
    assert opts.get("backend") == "socket"
    assert opts.get("path") == "/x,y"
    assert opts.flag("server")
    assert opts.number("to") == 9
    assert not opts.flag("wait")
    assert not warnings


def test_opts_flags() -> None:
    opts, warnings = opts_of("socket,server,nowait,delay")
    assert opts.flag("server")
    assert not opts.flag("wait", True)
    assert warnings == [
        "short-form boolean option 'server' deprecated: Please use server=on instead",
        "short-form boolean option 'nowait' deprecated: Please use wait=off instead",
        "short-form boolean option 'delay' deprecated: Please use nodelay=off instead",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("null,foo=1", "Invalid parameter 'foo'"),
        ("null,server=maybe", "Parameter 'server' expects 'on' or 'off'"),
        ("null,to=x", "Parameter 'to' expects a number"),
        ("null,id=1", "Parameter 'id' expects an identifier"),
        ("null,size=-1", "Value '-1' is out of range for parameter 'size'"),
    ],
)
def test_opts_complaints(text: str, complaint: str) -> None:
    with pytest.raises(GenericError) as caught:
        opts_of(text)
    assert caught.value.desc == complaint


def test_merging_options_add_up() -> None:
    def warn(_text: str, _hint: str | None) -> None: ...

    first = parse_opts(option_groups.MEMORY, "64", warn)
    both = parse_opts(option_groups.MEMORY, "slots=2", warn, into=first)
    assert list(both) == [("size", "64"), ("slots", "2")]
    with pytest.raises(GenericError, match="Invalid parameter 'id'"):
        parse_opts(option_groups.MEMORY, "id=x", warn)


def test_help_names_parameters_and_kinds() -> None:
    assert help_text(option_groups.MSG) == (
        "msg options:\n  guest-name=<bool (on/off)>\n  timestamp=<bool (on/off)>\n"
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1k", 1024),
        ("1.5M", 3 << 19),
        (".5k", 512),
        ("2.k", 2048),
        ("0x10", 16),
        ("64G", 64 << 30),
        ("15E", 15 << 60),
        (" 7b", 7),
        ("1.7k", 1741),
        ("+.9k", 922),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_option_size("size", text) == size


@pytest.mark.parametrize("text", ["", "k", "1.5", "0x10k", "1kk", "16E", "-1", "x", "1e3"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(GenericError):
        parse_option_size("size", text)


@given(st.integers(0, (1 << 64) - 1))
def test_numbers(number: int) -> None:
    assert parse_option_number("n", str(number)) == number
    assert parse_option_number("n", hex(number)) == number
    assert parse_option_number("n", "0" + oct(number)[2:]) == number


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("unix:/x,server=on", [("backend", "socket"), ("path", "/x"), ("server", "on")]),
        ("unix:/x,nowait", [("backend", "socket"), ("path", "/x"), ("wait", "off")]),
        ("tcp::5,server", [("backend", "socket"), ("host", ""), ("port", "5"), ("server", "on")]),
        ("tcp:[::1]:5", [("backend", "socket"), ("host", "::1"), ("port", "5")]),
        ("mon:stdio", [("mux", "on"), ("signal", "off"), ("backend", "stdio")]),
        ("null", [("backend", "null")]),
        ("file:/a:b", [("backend", "file"), ("path", "/a:b")]),
        ("telnet:h:1", [("backend", "socket"), ("host", "h"), ("port", "1"), ("telnet", "on")]),
    ],
)
def test_short_forms(text: str, values: list[tuple[str, str]]) -> None:
    assert list(parse_short_form("label", text)) == values


def test_command_line_of_the_emulator() -> None:
    options = split_options(["-S", "--name", "-x", "disk.img", "-m", "1"])
    assert [(o.name, o.argument, o.location) for o in options] == [
        ("S", None, "-S"),
        ("name", "-x", "--name -x"),
        ("", "disk.img", "disk.img"),
        ("m", "1", "-m 1"),
    ]


def getopt(*words: str) -> list[tuple[str, str | None, str]]:
    parser = Getopt({"blockdev": True, "block": False, "help": False}, {"h": "help"})
    return [(o.name, o.argument, o.location) for o in parser.parse(words)]


def test_getopt() -> None:
    assert getopt("--blockdev", "a", "--blockd=b", "x", "-h", "--", "--no") == [
        ("blockdev", "a", "--blockdev a"),
        ("blockdev", "b", "--blockd=b"),
        ("", "x", "x"),
        ("help", None, "-h"),
    ]


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("--foo=1", "unrecognized option '--foo=1'"),
        ("--help=1", "option '--help' doesn't allow an argument"),
        ("--blockdev", "option '--blockdev' requires an argument"),
        ("-x", "invalid option -- 'x'"),
    ],
)
def test_getopt_complaints(word: str, complaint: str) -> None:
    with pytest.raises(GenericError) as caught:
        getopt(word)
    assert caught.value.desc == complaint
