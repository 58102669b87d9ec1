"""What is kept of tables in memory beside the tables, against what the tables say."""

from __future__ import annotations

from array import array
from pathlib import Path
from random import Random

from qmpd.block.drivers.formats.qcow2.clusters.read import read_clusters
from qmpd.block.drivers.formats.qcow2.clusters.write import write_clusters
from qmpd.block.drivers.formats.qcow2.clusters.zero import cluster_discard
from qmpd.block.drivers.formats.qcow2.header.layout import OFLAG_COPIED
from qmpd.block.drivers.formats.qcow2.refcounts.counts import Discard
from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.block.drivers.formats.qcow2.tables.cache import (
    Table,
    decode_entries,
    encode_entries,
    used_bytes,
)

from .fakes import create, open_node, run

CLUSTER = 65536


def image(path: Path, l1_entries: int) -> Qcow2State:
    create(path, size=l1_entries * (CLUSTER // 8) * CLUSTER)
    return open_node(path)


def clusters_of(s: Qcow2State) -> set[int]:
    """The clusters of the L2 tables, by a look at the whole L1 table."""
    fresh = Qcow2State(s.node, s.header, s.geometry)
    fresh.set_l1(s.l1)
    return set(fresh.l2_tables)


def test_the_clusters_of_l2_tables_of_a_long_l1_table(tmp_path: Path) -> None:
    s = image(tmp_path / "a.qcow2", 16)
    size = s.geometry.cluster_size
    chooser = Random(1)
    for length in (0, 1, 100, 8192, 20_000, 40_000):
        table = array("Q", bytes(8 * length))
        for _ in range(min(length, chooser.choice((1, 30)))):
            offset = size * chooser.randrange(2, 9)
            table[chooser.randrange(length)] = offset | chooser.choice((0, OFLAG_COPIED))
        s.set_l1(table)
        assert set(s.l2_tables) == {entry & ~OFLAG_COPIED for entry in table if entry}


def test_the_clusters_of_l2_tables_follow_the_l1_table(tmp_path: Path) -> None:
    random = Random(5)
    s = image(tmp_path / "a.qcow2", 16)
    assert not s.l2_tables
    for _ in range(300):
        # few places, so that several entries lead to the same one, as in damaged images
        offset = random.randrange(5) * CLUSTER + random.choice((0, 0, 0, 512))
        s.set_l1_entry(random.randrange(16), random.choice((0, offset | OFLAG_COPIED)))
        assert set(s.l2_tables) == clusters_of(s)
    s.grow_l1(s.l1 + array("Q", bytes(64)))
    assert set(s.l2_tables) == clusters_of(s)


def test_a_cache_knows_which_tables_are_to_be_written(tmp_path: Path) -> None:
    s = image(tmp_path / "a.qcow2", 1)
    cache = s.refcount_cache

    def empty(cluster: int) -> Table:
        table: Table = run(cache.get_empty(cluster * CLUSTER, array("H", bytes(CLUSTER))))
        return table

    kept, freed, clean = empty(20), empty(21), empty(22)
    kept.dirty = freed.dirty = True
    assert (kept.dirty, freed.dirty, clean.dirty) == (True, True, False)
    assert sorted(cache.changed) == [20 * CLUSTER, 21 * CLUSTER]
    cache.discard(freed.offset)
    # whoever still holds it may go on to change it: it is not written any more
    freed.dirty = True
    assert cache.changed == [20 * CLUSTER]
    run(cache.write())
    assert not kept.dirty
    assert cache.changed == []
    assert (tmp_path / "a.qcow2").stat().st_size == 21 * CLUSTER


def test_a_discard_finds_what_is_between_holes(tmp_path: Path) -> None:
    s = image(tmp_path / "a.qcow2", 1)
    places = (5 * CLUSTER, 4000 * CLUSTER, 8000 * CLUSTER)
    for place in places:
        run(write_clusters(s, place, b"x" * CLUSTER))
    run(cluster_discard(s, 4 * CLUSTER, 5000 * CLUSTER, Discard.ALWAYS, full=True))
    left = [run(read_clusters(s, place, CLUSTER)) for place in places]
    assert left == [bytes(CLUSTER), bytes(CLUSTER), b"x" * CLUSTER]


def test_a_table_is_read_whole_however_few_entries_it_has() -> None:
    for size in (0, 512, 4096, CLUSTER, 3 * CLUSTER):
        for used in {0, 1, 7, 8, 9, size // 16, size // 8} & set(range(size // 8 + 1)):
            raw = b"".join((n << 40 | n).to_bytes(8, "big") for n in range(1, used + 1))
            raw = raw.ljust(size, b"\0")
            entries = decode_entries(raw)
            assert list(entries) == [n << 40 | n for n in range(1, used + 1)] + [0] * (
                size // 8 - used
            )
            assert encode_entries(entries) == raw
            assert 8 * used <= used_bytes(raw) < max(8 * used + 64, 1)
