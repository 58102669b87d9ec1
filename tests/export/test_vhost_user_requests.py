"""Requests of a vhost-user-blk client: what they do, and what they may be."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.export.vhost_client import (
    DISCARD,
    FLUSH,
    GET_ID,
    IN,
    OUT,
    WRITE_ZEROES,
    VhostClient,
    area,
)
from tests.export.vhost_pair import SECTOR, SIZE, Exporter, running, same


@pytest.fixture
def exporters(tmp_path: Path) -> Iterator[list[Exporter]]:
    with running(tmp_path) as made:
        yield made


def test_reading_and_writing(exporters: list[Exporter]) -> None:
    def work(exporter: Exporter) -> list[Any]:
        exporter.export()
        client = exporter.start()
        return [
            client.request(OUT, 3, b"abcd" * 384),
            client.request(OUT, 8, [b"x" * 100, b"y" * 412, b"z" * 512]),
            client.request(IN, 2, length=4096),
            client.request(IN, 3, length=4096, indirect=True),
            client.request(WRITE_ZEROES, 0, struct.pack("<QII", 4, 1, 1)),
            client.request(WRITE_ZEROES, 0, struct.pack("<QII", 8, 1, 0)),
            client.request(IN, 0, length=8192),
            client.request(DISCARD, 0, struct.pack("<QII", 0, 8, 0)),
            client.request(FLUSH),
            client.request(IN, SIZE // SECTOR - 1, length=SECTOR),
        ]

    done = same(exporters, work)
    assert all(one.status == 0 for one in done)
    contents = same(exporters, lambda e: e.image.read_bytes())
    assert contents[4096 + 100 : 4096 + 600] == bytes(412) + b"z" * 88


BOUNDS = [
    *((IN, 8192, b"", 512), (IN, 8191, b"", 1024), (IN, 8192, b"", 0), (IN, 0, b"", 511)),
    *((IN, 1 << 63, b"", 512), (IN, 1 << 55, b"", 512), (IN, (1 << 64) - 1, b"", 512)),
    *((OUT, 8192, bytes(512), 0), (OUT, 0, b"", 0), (OUT, 0, bytes(100), 0)),
    *((GET_ID, 0, b"", 20), (GET_ID, 0, b"", 0), (GET_ID, 0, b"", 5), (GET_ID, 0, b"", 512)),
    *((DISCARD, 0, area(0, 32769, 0), 0), (DISCARD, 0, area(8191, 2, 0), 0)),
    *((DISCARD, 0, area(0, 8, 1), 0), (DISCARD, 0, area(0, 8, 2), 0)),
    *((DISCARD, 0, area(0, 8, 0) * 2, 0), (DISCARD, 0, b"", 0), (DISCARD, 0, bytes(12), 0)),
    *((WRITE_ZEROES, 0, area(0, 8, 3), 0), (WRITE_ZEROES, 0, area(1 << 60, 8, 1), 0)),
    *((DISCARD, 0, area(9000, 0, 0), 0), (DISCARD, 0, area(8192, 0, 0), 0)),
    *((2, 0, b"", 8), (3, 0, b"", 8), (5, 0, b"", 8), (12, 0, b"", 8), (77, 0, b"", 8)),
    *((1 << 31 | IN, 0, b"", 512), (1 << 30, 0, b"", 512), (14, 0, area(0, 8, 0), 0)),
]


@pytest.mark.parametrize("options", [{}, {"writable": False}, {"logical_block_size": 4096}])
def test_what_requests_may_be(exporters: list[Exporter], options: dict[str, Any]) -> None:
    def answers(exporter: Exporter) -> list[Any]:
        exporter.export(**options)
        client = exporter.start()
        return [
            client.request(kind, sector, out, length)[:3] for kind, sector, out, length in BOUNDS
        ]

    same(exporters, answers)


# Random requests against a model

_REQUESTS = st.tuples(
    st.sampled_from([IN, OUT, OUT, WRITE_ZEROES, DISCARD, FLUSH]),
    st.integers(0, 40),
    st.integers(1, 24),
    st.integers(0, 255),
    st.booleans(),
    st.integers(0, 1),
)
_DISK = 48


@pytest.fixture(scope="module")
def pair() -> Iterator[list[VhostClient]]:
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as exporters:
        for exporter in exporters:
            exporter.export(num_queues=2)
        yield [exporter.start(queues=2) for exporter in exporters]


@given(sequence=st.lists(_REQUESTS, min_size=1, max_size=25))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_random_requests(pair: list[VhostClient], sequence: list[Any]) -> None:
    for client in pair:
        zero = client.request(WRITE_ZEROES, 0, area(0, 128, 0))
        assert zero.status == 0
        model = bytearray(128 * SECTOR)
        for kind, sector, count, value, indirect, queue in sequence:
            span = slice(sector * SECTOR, (sector + count) * SECTOR)
            where: dict[str, Any] = {"queue": queue, "indirect": indirect}
            if kind == OUT:
                data = bytes([value, 255 - value]) * (count * SECTOR // 2)
                assert client.request(OUT, sector, data, **where).status == 0
                model[span] = data
            elif kind == IN:
                done = client.request(IN, sector, length=count * SECTOR, **where)
                assert done == (0, bytes(model[span]), count * SECTOR + 1)
            elif kind == FLUSH:
                assert client.request(FLUSH, **where).status == 0
            else:
                unmap = int(kind == WRITE_ZEROES and value > 127)
                done = client.request(kind, 0, area(sector, count, unmap), **where)
                assert done.status == 0
                # The file punches holes: what is discarded reads as zeroes.
                model[span] = bytes(count * SECTOR)
        assert client.request(IN, 0, length=128 * SECTOR).data == bytes(model)
