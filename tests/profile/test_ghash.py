"""Which unexpected member is named."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmpd.base.ghash import first_unexpected, string_hash
from qmpd.base.qdict import c_bytes, member_order

NAMES = st.lists(st.text("abcxyzABZ-_é\x00\U0001f600", max_size=5), unique=True, max_size=70)


def test_the_hash_is_signed_and_of_32_bits() -> None:
    assert string_hash("") == 5381
    assert string_hash("abc") == 193485963
    assert string_hash("é") == (5381 * 33 - 61) * 33 - 87


@pytest.mark.parametrize(
    ("keys", "visited", "named"),
    [
        ([], [], None),
        (["node"], ["node"], None),
        (["zzz", "node"], ["node"], "zzz"),
        (["foo", "bar"], [], "bar"),
        (["b", "a", "c", "d"], [], "b"),
    ],
)
def test_known_cases(keys: list[str], visited: list[str], named: str | None) -> None:
    assert first_unexpected(keys, visited) == named


@pytest.fixture(scope="module")
def glib_first() -> Callable[[list[str], list[str]], str | None]:
    """The same by GLib itself."""
    name = ctypes.util.find_library("glib-2.0")
    if name is None:
        pytest.skip("GLib is not installed")
    glib = ctypes.CDLL(name)
    pointer = ctypes.c_void_p
    glib.g_hash_table_new.restype = pointer
    glib.g_hash_table_new.argtypes = [pointer, pointer]
    glib.g_hash_table_insert.argtypes = [pointer, pointer, pointer]
    glib.g_hash_table_remove.argtypes = [pointer, pointer]
    glib.g_hash_table_iter_init.argtypes = [pointer, pointer]
    glib.g_hash_table_iter_next.argtypes = [pointer, pointer, pointer]
    glib.g_hash_table_unref.argtypes = [pointer]

    def first(keys: list[str], visited: list[str]) -> str | None:
        strings = {key: ctypes.create_string_buffer(c_bytes(key)) for key in member_order(keys)}
        table = glib.g_hash_table_new(
            ctypes.cast(glib.g_str_hash, pointer), ctypes.cast(glib.g_str_equal, pointer)
        )
        for string in strings.values():
            glib.g_hash_table_insert(table, ctypes.addressof(string), None)
        for key in visited:
            glib.g_hash_table_remove(table, ctypes.addressof(strings[key]))
        iterator, found = ctypes.create_string_buffer(64), pointer()
        glib.g_hash_table_iter_init(iterator, table)
        glib.g_hash_table_iter_next(iterator, ctypes.byref(found), None)
        text = ctypes.string_at(found.value) if found.value else None
        glib.g_hash_table_unref(table)
        return next((key for key in keys if c_bytes(key) == text), None)

    return first


@settings(max_examples=300, deadline=None)
@given(NAMES, st.data())
def test_the_order_is_glibs(
    glib_first: Callable[[list[str], list[str]], str | None], keys: list[str], data: st.DataObject
) -> None:
    visited = data.draw(st.lists(st.sampled_from(keys), unique=True)) if keys else []

    assert first_unexpected(keys, visited) == glib_first(keys, visited)
