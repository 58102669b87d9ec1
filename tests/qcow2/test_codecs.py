"""Pure parts: geometry, refcount packing, L2 entries, headers and extensions."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.block.drivers.formats.qcow2.creation.options import check_create_options
from qmpd.block.drivers.formats.qcow2.header import extensions as ext
from qmpd.block.drivers.formats.qcow2.header.fields import (
    FULL_LENGTH,
    BitmapsExtension,
    Extension,
    Header,
)
from qmpd.block.drivers.formats.qcow2.header.header import (
    check_tables,
    check_widths,
    decode_header,
    encode_fields,
    encode_header,
)
from qmpd.block.drivers.formats.qcow2.header.layout import (
    ALL_ALLOC,
    OFLAG_COMPRESSED,
    OFLAG_COPIED,
    OFLAG_ZERO,
    Geometry,
)
from qmpd.block.drivers.formats.qcow2.options import read_options
from qmpd.block.drivers.formats.qcow2.refcounts.codec import (
    decode_refcounts,
    empty_refcounts,
    encode_refcounts,
    first_free,
    last_used,
)
from qmpd.block.drivers.formats.qcow2.tables.entries import Cluster, EntryRules, Subcluster
from qmpd.errors import BlockIOError


@given(order=st.integers(0, 6), raw=st.binary(min_size=64, max_size=64))
def test_refcounts_survive_packing(order: int, raw: bytes) -> None:
    counts = decode_refcounts(raw, order)
    assert len(counts) == 64 * 8 >> order
    assert encode_refcounts(counts, order) == raw


@pytest.mark.parametrize("order", range(7))
def test_a_refcount_is_where_the_format_has_it(order: int) -> None:
    counts = empty_refcounts(512 * 8 >> order, order)
    counts[3] = 1
    raw = encode_refcounts(counts, order)
    width = 1 << order
    if width < 8:
        assert raw[3 * width // 8] == 1 << (3 * width % 8)
    else:
        assert int.from_bytes(raw[3 * width // 8 : 4 * width // 8], "big") == 1
    assert sum(raw) == max(raw)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(0, 40))
def test_free_and_used_are_found(values: list[int], start: int) -> None:
    counts = bytearray(values)
    start = min(start, len(values))
    expected = next((i for i in range(start, len(values)) if not values[i]), len(values))
    assert first_free(counts, start) == expected
    used = [i for i in range(start, len(values)) if values[i]]
    assert last_used(counts, start, len(values)) == (used[-1] if used else -1)


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (0, Cluster.UNALLOCATED),
        (OFLAG_ZERO, Cluster.ZERO_PLAIN),
        (0x50000 | OFLAG_ZERO | OFLAG_COPIED, Cluster.ZERO_ALLOC),
        (0x50000 | OFLAG_COPIED, Cluster.NORMAL),
        (0x50000, Cluster.NORMAL),
        (0x50123 | OFLAG_COMPRESSED, Cluster.COMPRESSED),
    ],
)
def test_standard_entries(entry: int, kind: Cluster) -> None:
    assert EntryRules(extended_l2=False, data_file=False).cluster_type(entry) is kind


def test_offset_zero_is_a_cluster_of_a_data_file() -> None:
    rules = EntryRules(extended_l2=False, data_file=True)
    assert rules.cluster_type(OFLAG_COPIED) is Cluster.NORMAL
    assert rules.cluster_type(0) is Cluster.UNALLOCATED


@given(st.integers(0, ALL_ALLOC), st.integers(0, ALL_ALLOC), st.booleans(), st.integers(0, 31))
def test_ranges_of_subclusters(alloc: int, zero: int, allocated: bool, first: int) -> None:
    rules = EntryRules(extended_l2=True, data_file=False)
    zero &= ~alloc
    entry = 0x50000 | OFLAG_COPIED if allocated else 0
    if not allocated:
        alloc = 0
    bitmap = alloc | zero << 32
    kinds = [rules.subcluster_type(entry, bitmap, index) for index in range(32)]
    alike = 1
    while first + alike < 32 and kinds[first + alike] is kinds[first]:
        alike += 1
    assert rules.range_type(entry, bitmap, first) == (kinds[first], alike)


def test_contradicting_subclusters_are_invalid() -> None:
    rules = EntryRules(extended_l2=True, data_file=False)
    assert rules.subcluster_type(0x50000, 1 | 1 << 32, 5) is Subcluster.INVALID
    assert rules.subcluster_type(0, 1, 5) is Subcluster.INVALID


def header_bytes(**changes: int) -> bytes:
    header = Header(
        size=1 << 20,
        l1_size=1,
        l1_table_offset=0x30000,
        refcount_table_offset=0x10000,
        refcount_table_clusters=1,
    )
    for name, value in changes.items():
        setattr(header, name, value)
    raw = bytearray(encode_fields(header).ljust(FULL_LENGTH, b"\0"))
    if "header_length" in changes:
        raw[100:104] = changes["header_length"].to_bytes(4, "big")
    return bytes(raw)


def decode_checked(raw: bytes) -> None:
    header = decode_header(raw)
    check_tables(header, check_widths(header))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"version": 4}, "Unsupported qcow2 version 4"),
        ({"version": 1}, "Unsupported qcow2 version 1"),
        ({"cluster_bits": 8}, "Unsupported cluster size: 2^8"),
        ({"cluster_bits": 22}, "Unsupported cluster size: 2^22"),
        ({"header_length": 103}, "qcow2 header too short"),
        ({"header_length": 1 << 17}, "qcow2 header exceeds cluster size"),
        ({"backing_file_offset": 1 << 17}, "Invalid backing file offset"),
        ({"compression_type": 7}, "qcow2: unknown compression type: 7"),
        (
            {"incompatible": 8},
            "qcow2: Compression type incompatible feature bit must not be set",
        ),
        (
            {"compression_type": 1},
            "qcow2: Compression type incompatible feature bit must be set",
        ),
        ({"incompatible": 16, "cluster_bits": 13}, "Unsupported subcluster size: 256"),
        (
            {"refcount_order": 7},
            "Reference count entry width too large; may not exceed 64 bits",
        ),
        ({"refcount_table_clusters": 0}, "Image does not contain a reference count table"),
        ({"refcount_table_clusters": 129}, "Reference count table too large"),
        ({"refcount_table_offset": 0x10200}, "Reference count table offset invalid"),
        ({"nb_snapshots": 65537}, "Snapshot table too large"),
        ({"snapshots_offset": 0x200}, "Snapshot table offset invalid"),
        ({"l1_size": 4 << 20 | 1}, "Active L1 table too large"),
        ({"l1_table_offset": 1 << 63}, "Active L1 table offset invalid"),
        ({"size": 1 << 62}, "Image is too big"),
        ({"l1_size": 0}, "L1 table is too small"),
    ],
)
def test_headers_that_are_refused(changes: dict[str, int], text: str) -> None:
    with pytest.raises(BlockIOError) as caught:
        decode_checked(header_bytes(**changes))
    assert caught.value.desc == text


def test_other_files_are_refused() -> None:
    with pytest.raises(BlockIOError, match="Image is not in qcow2 format"):
        decode_header(bytes(FULL_LENGTH))


def test_a_header_survives() -> None:
    header = Header(size=1 << 30, l1_size=2, backing_file=b"base", backing_format=b"raw")
    for extension in (Extension(0x99, b""), Extension(0x1234, b"abcde")):
        header.unknown_extensions.add(extension)
    header.bitmaps = BitmapsExtension(1, 32, 0x70000)
    header.autoclear = 1
    cluster = encode_header(header)
    again = decode_header(cluster[:FULL_LENGTH])
    assert not ext.read_extensions(again, cluster, lambda: None)
    end = again.backing_file_offset + again.backing_file_size
    assert cluster[again.backing_file_offset : end] == b"base"
    assert again.backing_format == b"raw"
    assert again.bitmaps == header.bitmaps
    # Kept in the order QEMU keeps them: each reading turns it round.
    assert again.unknown_extensions == header.unknown_extensions[::-1]


def test_bitmaps_without_the_autoclear_bit_are_dropped() -> None:
    header = Header(bitmaps=BitmapsExtension(1, 32, 0x70000))
    cluster = encode_header(header)
    again = decode_header(cluster[:FULL_LENGTH])
    assert ext.read_extensions(again, cluster, lambda: None)
    assert again.bitmaps is None


def test_feature_names() -> None:
    table = ext.decode_feature_table(ext.encode_feature_table(ext.FEATURE_NAMES))
    assert tuple(table) == ext.FEATURE_NAMES


def test_a_name_that_does_not_fit() -> None:
    header = Header(cluster_bits=9, backing_file=b"x" * 500)
    with pytest.raises(BlockIOError, match="No space left"):
        encode_header(header)


@given(st.binary(max_size=64), st.integers(104, 130))
def test_any_extensions_are_read_or_refused(data: bytes, start: int) -> None:
    header = Header(cluster_bits=9, header_length=start)
    cluster = bytes(start) + data
    with suppress(BlockIOError):
        ext.read_extensions(header, cluster.ljust(512, b"\0"), lambda: None)


OPTION_ERRORS = [
    (
        {"cache-size": 1, "l2-cache-size": 1, "refcount-cache-size": 1},
        "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time",
    ),
    ({"cache-size": 1, "l2-cache-size": 2}, "l2-cache-size may not exceed cache-size"),
    ({"cache-size": 1, "refcount-cache-size": 2}, "refcount-cache-size may not exceed cache-size"),
    (
        {"l2-cache-entry-size": 1000},
        "L2 cache entry size must be a power of two between 512 and the cluster size (65536)",
    ),
    ({"cache-clean-interval": 1 << 32}, "Cache clean interval too big"),
    (
        {"encrypt": {"format": "luks"}},
        "No encryption in image header, but options specified format 'luks'",
    ),
]


@pytest.mark.parametrize(("options", "text"), OPTION_ERRORS)
def test_runtime_options_that_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(BlockIOError) as caught:
        read_options(options, Header(), Geometry(16), 1 << 30, unmap=False)
    assert caught.value.desc == text


def test_slices_are_small_where_the_cache_is() -> None:
    geometry = Geometry(16)
    whole = read_options({}, Header(), geometry, 1 << 30, unmap=False)
    assert whole.l2_slice_bytes == 65536
    part = read_options({}, Header(), geometry, 1 << 44, unmap=True)
    assert part.l2_slice_bytes == 4096
    assert part.l2_tables == 8192
    assert part.discard_passthrough == (False, True, True, True, False)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 1000}, "Image size must be a multiple of 512 bytes"),
        (
            {"cluster-size": 1000},
            "Cluster size must be a power of two between 512 and 2048k",
        ),
        (
            {"cluster-size": 8192, "extended-l2": True},
            "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes",
        ),
        (
            {"version": "v2", "lazy-refcounts": True},
            "Lazy refcounts only supported with compatibility level 1.1 and above"
            " (use version=v3 or greater)",
        ),
        (
            {"refcount-bits": 3},
            "Refcount width must be a power of two and may not exceed 64 bits",
        ),
        (
            {"backing-fmt": "raw"},
            "Backing format cannot be used without backing file",
        ),
        (
            {"backing-file": "a", "preallocation": "metadata"},
            "Backing file and preallocation can only be used at the same time if extended_l2 is on",
        ),
        ({"data-file-raw": True}, "data-file-raw requires data-file"),
    ],
)
def test_create_options_that_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(BlockIOError) as caught:
        check_create_options({"size": 1 << 20, **options})
    assert caught.value.desc == text
