"""The same bytes to a real QEMU 10.0.2: it answers what we answer."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmpd.errors import QmpError
from qmpd.wire.json_stream import parse_json

from .peers import PRETTY_ARGS, QEMU_ARGS, OwnSession, RealQemu, is_10_0_2, package
from .test_json_stream import TOKENS

pytestmark = pytest.mark.skipif(not is_10_0_2(), reason="no qemu-system-x86_64 10.0.2 installed")

MEMBERS = [
    *(b'"execute":"query-version"', b'"execute":"query-status"', b'"execute":"nosuch"'),
    *(b'"execute":5', b'"exec-oob":"query-version"', b'"exec-oob":7', b'"foo":1', b'"bar":null'),
    *(b'"arguments":{}', b'"arguments":{"x":1}', b'"arguments":[]', b'"arguments":null'),
]
MORE_TOKENS = [
    *(b"{" + member + b"}" for member in MEMBERS),
    *(b"\xc0\x80", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xf4\x90\x80\x80", b"\xfe", b"\xfd"),
    *(b"\\u0000", b"\\u00E9", b"\\ud83d\\ude00", b"\\/", b"\\'", b"\\x", b"%", b"%d", b"T", b"#"),
    *(b"\n", b"\t", b"\x7f", b"\x00", b"01", b"1e400", b"-1e-400", b"18446744073709551615", b"/"),
    *(b"query", b"[" * 30, b'{"execute":"query-version","id":'),
]

SCALARS = [
    *(b"0", b"-0", b"-0.0", b"0.1", b"1e22", b"-1E-7", b"1.5", b"null", b"true", b'"a"', b"'q\"'"),
    *(b'"\\u00e9\\ud83d\\ude00\\u0000\xc3\xa9\x7f"', b"12345678901234567890", b"1" * 30),
]
keys = st.text("abcxyz_-%é\0", max_size=5).map(
    lambda name: b'"%s"' % name.encode().replace(b"\0", b"\\u0000")
)
ids = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: b"[" + b",".join(items) + b"]")
        | st.lists(st.tuples(keys, inner), max_size=6).map(
            lambda pairs: b"{" + b", ".join(key + b":" + value for key, value in pairs) + b"}"
        )
    ),
    max_leaves=10,
)
members = st.sampled_from(MEMBERS) | ids.map(lambda value: b'"id":' + value)
requests = st.lists(members, max_size=4).map(lambda found: b"{" + b",".join(found) + b"}\n")
pieces = st.sampled_from(TOKENS + MORE_TOKENS) | requests | st.binary(max_size=4)
texts = st.lists(pieces, max_size=8).map(b"".join)

NEGOTIATE = b'{"execute":"qmp_capabilities"}'


class Both:
    """A real QEMU and a session, side by side."""

    def __init__(self, *, pretty: bool = False) -> None:
        self.qemu = RealQemu(PRETTY_ARGS if pretty else QEMU_ARGS)
        self.own = OwnSession(pretty=pretty, package=package())
        assert self.own.greeting() == self.qemu.greeting()

    def ask(self, data: bytes, step: int = 1 << 20) -> bytes:
        answer = self.qemu.ask(data)
        assert self.own.ask(data, step) == answer
        return answer


def _both(*, pretty: bool = False, negotiated: bool = True) -> Iterator[Both]:
    both = Both(pretty=pretty)
    try:
        if negotiated:
            both.ask(NEGOTIATE)
        yield both
    finally:
        both.qemu.close()


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    yield from _both()


@pytest.fixture(scope="module")
def pretty() -> Iterator[Both]:
    yield from _both(pretty=True)


@pytest.fixture
def fresh() -> Iterator[Both]:
    yield from _both(negotiated=False)


live = settings(
    max_examples=400,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@live
@given(texts, st.sampled_from([1, 3, 1 << 20]))
def test_any_bytes(both: Both, data: bytes, step: int) -> None:
    both.ask(data, step)


@settings(live, max_examples=150)
@given(st.lists(requests | texts, max_size=3).map(b"".join))
def test_any_bytes_pretty(pretty: Both, data: bytes) -> None:
    pretty.ask(data)


@settings(live, max_examples=100)
@given(texts)
def test_any_bytes_before_negotiation(fresh: Both, data: bytes) -> None:
    fresh.ask(data)


def test_negotiation(fresh: Both) -> None:
    for request in (
        b'{"execute":"query-version"}',
        b'{"execute":"nosuch","id":2}',
        b'{"execute":"qmp_capabilities","arguments":{"x":1}}',
        b'{"arguments":{}}',
        NEGOTIATE,
        NEGOTIATE,
        b'{"execute":"qmp_capabilities","arguments":{"x":1},"id":1}',
        b'{"execute":"query-version"}',
    ):
        fresh.ask(request)


def test_oob(fresh: Both) -> None:
    fresh.ask(b'{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}')
    for request in (
        b'{"exec-oob":"query-status","id":1}',
        b'{"exec-oob":"nosuch","id":2}',
        b'{"exec-oob":5,"id":3}',
        b'{"exec-oob":"query-status","execute":"query-status","id":5}',
        b'{"exec-oob":"qmp_capabilities"}',
        b'{"exec-oob":"x","foo":1}',
    ):
        fresh.ask(request)


def test_limits(both: Both) -> None:
    for depth in (1023, 1024, 1025):
        both.ask(b"[" * depth + b"]" * depth)
        both.ask(b'{"id":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}")
    for length in (1004, 1005, 1006, 3000):
        both.ask(b"[" + b"a" * length + b"]")
    both.ask(b'{"id":' + b"9" * 5000 + b"}")
    both.ask(b'{"id":"' + b"y" * 50_000 + b'"}')


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img installed")
@pytest.mark.parametrize(
    "text",
    [
        *("{", "", " ", "{}{}", '{"a":', '{"a"', '{"a":1', "[1,", "[1 2", "nul", '{"a":"b', "1."),
        *("-", "{] {", "1 2", "5 nul", "nul 5", "{%d", '{"a":01}', "{'a", '{"d":1,"d":2}'),
        '{"n":"\\x"}',
    ],
)
def test_command_line_json(text: str) -> None:
    done = subprocess.run(
        ["qemu-img", "info", "json:" + text], capture_output=True, text=True, check=False
    )
    with pytest.raises(QmpError) as caught:
        parse_json(text)
    assert done.stderr.endswith(f"Could not parse the JSON options: {caught.value.desc}\n")
