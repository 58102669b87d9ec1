"""Any bytes on the wire: the same lines from both programs."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.differential.pair import Pair
from tests.support.versions import examples, on_each_version

TOKENS = [
    *(b"{", b"}", b"[", b"]", b":", b",", b"'", b'"', b" ", b"\n", b"\t", b"\r", b"\x00", b"\x7f"),
    *(b"\xff", b"\xfe", b"\xc3\xa9", b"\xc3(", b"\\", b"\\u0000", b"\\ud83d", b"\\u12", b"#", b"/"),
    *(b"0", b"01", b"-", b"-0", b"1.5", b"1.", b"1e5", b"18446744073709551616", b"true", b"nul"),
    *(b"null", b"false", b"NaN", b"%", b"%s", b'"execute"', b'"arguments"', b'"id"', b'"exec-oob"'),
    *(b'"query-status"', b"'query-status'", b'"nosuch"', b'{"execute":"query-status"}'),
    *(
        b'{"execute":"query-status","id":',
        b'{"execute":"query-name","arguments":{',
        b"}}",
        b"[" * 9,
    ),
]
texts = st.lists(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=3)), max_size=14)
_markers = itertools.count(1_000_000)


@on_each_version
def test_any_bytes_are_answered_the_same(pair: Pair) -> None:
    @settings(
        max_examples=examples(pair.version, 500),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(pieces=texts)
    def answered_the_same(pieces: list[bytes]) -> None:
        pair.raw(b"".join(pieces), next(_markers))

    answered_the_same()


@on_each_version
def test_nesting_limit(pair: Pair) -> None:
    for depth in (1023, 1024, 1025, 1030):
        pair.raw(b"[" * depth + b"]" * depth, next(_markers))
        body = b"[" * (depth - 1) + b"]" * (depth - 1)
        pair.raw(b'{"execute":"query-status","id":' + body + b"}", next(_markers))
