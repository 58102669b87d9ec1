"""QEMU's containers: the order in which they list what is in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qmpd.base.ghash import GHashTable, StringTable
from qmpd.base.newest_first import NewestFirst
from qmpd.base.qdict import QDict, member_order

NAMES = st.lists(st.text("abxyz-", min_size=1, max_size=4), unique=True, max_size=40)


@given(st.lists(st.integers()))
def test_the_newest_comes_first(numbers: list[int]) -> None:
    added: NewestFirst[int] = NewestFirst()
    for number in numbers:
        added.add(number)
    assert list(added) == list(NewestFirst(numbers)) == numbers[::-1]
    assert added.oldest_first() == numbers


@given(NAMES)
def test_a_qdict_lists_its_members_in_qemus_order(names: list[str]) -> None:
    members = QDict({name: index for index, name in enumerate(names)})
    assert list(members) == member_order(names)
    assert dict(members.items()) == {name: index for index, name in enumerate(names)}


@given(NAMES, st.data())
def test_a_ghashtable_lists_its_keys_in_glibs_order(names: list[str], data: st.DataObject) -> None:
    table: GHashTable[int] = GHashTable(dict.fromkeys(names, 1))
    plain = StringTable()
    for name in names:
        plain.add(name)
        table[name] = 2
    for name in data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []:
        del table[name]
        plain.remove(name)
    assert list(table) == plain.keys()
    assert len(table) == len(plain.keys())
    assert set(table.values()) <= {2}
