"""The block layer's commands and queries, on qmpd and on the real QEMU side by side."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.block.files import Files, both_programs

SECTOR = 512


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    with both_programs(tmp_path_factory.mktemp("pair")) as pair:
        yield pair


@pytest.fixture
def pair(programs: Files) -> Iterator[Files]:
    programs.make("a.raw", 1 << 20, b"abc")
    programs.make("odd.raw", 1000)
    for side in ("real", "ours"):
        (programs.scratch / side / "folder").mkdir(exist_ok=True)
    yield programs
    nodes = programs.execute("query-named-block-nodes", flat=True)["return"]
    while nodes:
        for node in nodes:
            programs.delete(node["node-name"])
        left = programs.execute("query-named-block-nodes", flat=True)["return"]
        assert len(left) < len(nodes)
        nodes = left


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"read_only": True},
        {"read_only": True, "force_share": True},
        {"force_share": True},
        {"aio": "native"},
        {"aio": "native", "cache": {"direct": True}},
        {"aio": "io_uring"},
        {"cache": {"no-flush": True}},
        {"drop-cache": False},
        {"locking": "off"},
        {"detect_zeroes": "on"},
        {"detect_zeroes": "unmap"},
        {"detect_zeroes": "unmap", "discard": "unmap"},
        {"auto_read_only": True},
        {"active": False},
        {"filename": ""},
        {"filename": "none"},
        {"filename": "folder"},
        {"filename": "a.raw/b"},
        {"filename": "file:a.raw"},
        {"filename": "x" * 300},
        {"filename": "/dev/null"},
        {"filename": "odd.raw"},
        {"filename": "none", "node": None},
        {"node": None},
        {"node": "1a"},
        {"node": ""},
        {"node": "a b"},
        {"node": "a" * 31},
        {"node": "a" * 32},
        {"node": "#block000"},
        {"node": "1a", "filename": "none"},
        {"node": "1a", "detect_zeroes": "unmap"},
    ],
)
def test_file(pair: Files, options: dict[str, Any]) -> None:
    options = {"filename": "a.raw", "node": "f", **options}
    pair.add("file", options.pop("node"), **options)
    pair.look()


@pytest.mark.parametrize("driver", ["null-co", "null-aio"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"size": 0},
        {"size": 1},
        {"size": 1 << 20, "read_only": True},
        {"latency-ns": 5},
        {"latency-ns": -5},
        {"read-zeroes": True},
        {"read-zeroes": False},
        {"size": 2**63 - 1},
        {"size": 2**63 - 2**30},
        {"size": 2**63 - 2**30 + 1},
    ],
)
def test_null(pair: Files, driver: str, options: dict[str, Any]) -> None:
    pair.add(driver, "n", **options)
    pair.look()


@pytest.mark.parametrize(
    "file", ["f", "ro", "n", "none", {"driver": "file", "filename": "odd.raw"}]
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"offset": 512},
        {"offset": 1 << 20},
        {"offset": 1, "size": 512},
        {"size": 512},
        {"size": 0},
        {"size": 1},
        {"offset": 513, "size": 1 << 20},
        {"offset": (1 << 20) + 1},
        {"offset": -1},
        {"size": -1},
        {"offset": 2**63 - 1},
        {"read_only": True},
        {"read_only": True, "cache": {"direct": False, "no-flush": True}, "discard": "unmap"},
        {"active": False},
    ],
)
def test_raw(pair: Files, file: Any, options: dict[str, Any]) -> None:
    pair.add("file", "f", filename="a.raw")
    pair.add("file", "ro", filename="a.raw", read_only=True)
    pair.add("null-co", "n", size=1 << 20)
    pair.add("raw", "r", file=file, **options)
    pair.look()
    if options.get("active", True):  # else the real one ends with an assertion
        pair.io("r", "write 0 512")
        pair.io("r", "map")


def test_names_are_checked_behind_the_children(pair: Files) -> None:
    pair.add("file", "f", filename="a.raw")
    pair.add("raw", "f", file={"driver": "file", "filename": "none"})
    pair.add("raw", "1", file={"driver": "file", "filename": "none"})
    pair.add("raw", "1", file="none")
    pair.add("raw", "f", file={"driver": "file", "node-name": "f", "filename": "a.raw"})
    pair.add("raw", "g", file={"driver": "file", "node-name": "g", "filename": "a.raw"})
    pair.add("raw", "g", offset=-1, file={"driver": "file", "node-name": "g", "filename": "a.raw"})
    pair.add("raw", "g", size=5, file={"driver": "file", "node-name": "h", "filename": "a.raw"})
    pair.add("raw", "h", file={"driver": "raw", "file": {"driver": "raw", "file": "f"}})
    pair.look()


def test_what_is_in_use_stays(pair: Files) -> None:
    pair.add("raw", "r", file={"driver": "file", "node-name": "f", "filename": "a.raw"})
    pair.add("raw", "s", file="r")
    for name in ("none", "f", "r", ""):
        pair.delete(name)
    pair.delete("s")
    pair.look()
    pair.delete("r")
    pair.look()


def test_inactive_nodes(pair: Files) -> None:
    pair.add("file", "f", filename="a.raw", active=False)
    pair.add("raw", "r", file="f")
    pair.add("raw", "r", file="f", active=False)
    pair.look()


def test_resizing(pair: Files) -> None:
    pair.add("file", "f", filename="a.raw")
    pair.add("raw", "r", file="f")
    pair.add("null-co", "n")
    pair.add("file", "ro", filename="odd.raw", read_only=True)
    pair.execute("block-dirty-bitmap-add", node="r", name="b", granularity=512)
    pair.io("r", "write 0 1M")
    for node in ("n", "ro", "r", "f"):
        for size in (-1, 0, 1000, 1 << 20, (1 << 20) + 1, 2**63 - 1, 2**63 - 2**30):
            pair.execute("block_resize", size=size, **{"node-name": node})
        pair.look()
    pair.execute("block_resize", size=1)
    pair.execute("block_resize", size=1, device="r")
    pair.add("raw", "w", file="f", size=512)
    pair.execute("block_resize", size=512, **{"node-name": "w"})
    pair.execute("block_resize", size=512, **{"node-name": "f"})
    pair.execute("block_resize", size=512, **{"node-name": "r"})
    pair.delete("w")
    pair.add("raw", "o", file="f", offset=512)
    for size in (0, 4096, 2**63 - 2**30):
        pair.execute("block_resize", size=size, **{"node-name": "o"})
    pair.look()


@pytest.mark.parametrize("mode", ["off", "falloc", "full", "metadata"])
def test_truncating_with_preallocation(pair: Files, mode: str) -> None:
    pair.add("raw", "r", file={"driver": "file", "filename": "a.raw"})
    pair.add("null-co", "n")
    for node in ("r", "n"):
        for size in ("2M", "1M", "1M", "0"):
            pair.io(node, f"truncate -m {mode} {size}")
    pair.look()


def test_permissions(pair: Files) -> None:
    pair.add("file", "f", filename="a.raw")
    pair.add("raw", "w", file="f", size=512)
    pair.io("f", "truncate 0")
    pair.io("f", "write 0 512")
    pair.io("w", "truncate 0")
    pair.execute("block_resize", size=512, **{"node-name": "f"})
    pair.add("file", "ro", filename="odd.raw", read_only=True)
    pair.io("ro", "write 0 512")
    pair.io("ro", "truncate 0")
    pair.execute("block_resize", size=512, **{"node-name": "ro"})
    pair.add("raw", "rw", file="ro")
    pair.io("rw", "write 0 512")
    pair.io("rw", "discard 0 512")
    pair.io("rw", "read 0 512")


def test_locks_between_the_nodes_of_a_machine(pair: Files) -> None:
    inline = {"driver": "file", "filename": "a.raw"}
    pair.add("raw", "w", offset=512, file=inline)
    pair.add("raw", "x", offset=512, file=inline)
    pair.io("x", "write 0 512")
    pair.add("raw", "y", file=inline)
    pair.io("y", "truncate 512")
    pair.add("raw", "z", file={**inline, "locking": "off"})
    pair.io("z", "truncate 1M")


def test_thresholds(pair: Files) -> None:
    pair.add(
        "raw", "r", discard="unmap", file={"driver": "file", "node-name": "f", "filename": "a.raw"}
    )
    for node in ("f", "r", "none"):
        for threshold in (1, 600, 65536, -1, 2**64 - 1, 0):
            pair.execute(
                "block-set-write-threshold", **{"node-name": node, "write-threshold": threshold}
            )
            for command in ("write 0 512", "discard 64k 64k", "write -z 128k 512", "write 0 0"):
                pair.io("r", command)
            pair.execute("query-named-block-nodes")


@pytest.mark.parametrize("discard", ["ignore", "unmap"])
@pytest.mark.parametrize("below", ["ignore", "unmap", None])
@pytest.mark.parametrize("zeroes", ["off", "on", "unmap"])
def test_what_is_marked(pair: Files, discard: str, below: str | None, zeroes: str) -> None:
    file: dict[str, Any] = {"driver": "file", "node-name": "f", "filename": "a.raw"}
    if below is not None:
        file["discard"] = below
    pair.make("a.raw", 1 << 20, bytes(range(256)) * 4096)
    pair.add("raw", "r", discard=discard, detect_zeroes=zeroes, file=file)
    for node in ("r", "f"):
        pair.execute("block-dirty-bitmap-add", node=node, name="b", granularity=512)
    for command in (
        "discard 0 64k",
        "write 512 1",
        "write -z 128k 64k",
        "write -z -u 200k 64k",
        "write -P 0 300k 64k",
        "write -z -n 400k 512",
        "write 1M 512",
        "read 0 1M",
        "flush",
    ):
        pair.io("r", command)
        pair.look()
    for folder in ("real", "ours"):
        assert (pair.scratch / folder / "a.raw").stat().st_size == 1 << 20
    real, ours = (pair.scratch / folder / "a.raw" for folder in ("real", "ours"))
    assert real.read_bytes() == ours.read_bytes()
    assert real.stat().st_blocks == ours.stat().st_blocks


def test_counters(pair: Files) -> None:
    pair.add(
        "raw", "r", discard="unmap", file={"driver": "file", "node-name": "f", "filename": "a.raw"}
    )
    for command in ("aio_write 0 64k", "discard 64k 4k", "write 64k 64k", "discard 0 1M", "flush"):
        pair.io("r", command)
        pair.look()


NAMES = st.sampled_from(["a", "b", "c", "d"])
SIZES = st.sampled_from([0, 512, 1000, 65536, 1 << 20, 3 << 20])


class Graphs(RuleBasedStateMachine):
    """Nodes come, are written, change their size, and go."""

    pair: Files

    @initialize()
    def begin(self) -> None:
        self.pair.make("a.raw", 1 << 20)
        self.pair.make("b.raw", 100000)

    @rule(
        name=NAMES, file=st.sampled_from(["a.raw", "b.raw"]), ro=st.booleans(), unmap=st.booleans()
    )
    def add_file(self, name: str, file: str, ro: bool, unmap: bool) -> None:
        discard = "unmap" if unmap else "ignore"
        self.pair.add("file", name, filename=file, read_only=ro, discard=discard)

    @rule(name=NAMES, size=SIZES, zeroes=st.booleans())
    def add_null(self, name: str, size: int, zeroes: bool) -> None:
        self.pair.add("null-co", name, size=size, **{"read-zeroes": zeroes})

    @rule(
        name=NAMES,
        file=st.one_of(NAMES, st.sampled_from(["a.raw", "b.raw"])),
        ro=st.booleans(),
        offset=st.none() | st.sampled_from([0, 1, 512, 65536]),
        size=st.none() | st.sampled_from([0, 512, 65536]),
        zeroes=st.sampled_from(["off", "on"]),
    )
    def add_raw(
        self, name: str, file: str, ro: bool, offset: int | None, size: int | None, zeroes: str
    ) -> None:
        options: dict[str, Any] = {"read-only": ro, "detect-zeroes": zeroes}
        if offset is not None:
            options["offset"] = offset
        if size is not None:
            options["size"] = size
        inline = {"driver": "file", "filename": file} if file.endswith(".raw") else file
        self.pair.add("raw", name, file=inline, **options)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.pair.delete(name)

    @rule(name=NAMES, size=SIZES)
    def resize(self, name: str, size: int) -> None:
        self.pair.execute("block_resize", size=size, **{"node-name": name})

    @rule(name=NAMES, granularity=st.sampled_from([512, 65536]))
    def add_bitmap(self, name: str, granularity: int) -> None:
        self.pair.execute("block-dirty-bitmap-add", node=name, name="b", granularity=granularity)

    @rule(
        name=NAMES,
        what=st.sampled_from(
            ["write", "write -z", "write -z -u", "discard", "write -P 0", "alloc"]
        ),
        offset=st.integers(0, 140).map(lambda n: n * SECTOR),
        length=st.integers(0, 140).map(lambda n: n * SECTOR),
    )
    def io(self, name: str, what: str, offset: int, length: int) -> None:
        self.pair.io(name, f"{what} {offset} {length}")

    @rule()
    def look(self) -> None:
        self.pair.look()

    def teardown(self) -> None:
        self.look()
        for _ in range(4):
            for name in random.Random(0).sample("abcd", 4):
                self.pair.delete(name)
        assert self.pair.execute("query-named-block-nodes")["return"] == []


def test_graphs(programs: Files) -> None:
    Graphs.pair = programs
    machine = Graphs.TestCase
    machine.settings = settings(
        max_examples=25,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine().runTest()
