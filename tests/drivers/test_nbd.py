"""The nbd driver, a client of servers of every kind, beside that of the real QEMU."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.drivers.pair import SIDES, Drivers
from tests.support.nbd_servers import EXPORT, KINDS, serve, stop

UNIX = {"type": "unix", "path": "s"}


@pytest.fixture
def served(pair: Drivers, request: pytest.FixtureRequest) -> Iterator[Drivers]:
    """An image behind a server on each side; the parameter says whose."""
    servers = start(pair, getattr(request, "param", "qemu-nbd"))
    yield pair
    try:
        pair.clear()
    finally:
        for server in servers:
            stop(server)


def start(pair: Drivers, kind: str, **options: Any) -> list[subprocess.Popen[bytes]]:
    return [serve(kind, pair.scratch / side, "a.raw", **options) for side in SIDES]


every_server = pytest.mark.parametrize("served", KINDS, indirect=True)


@every_server
def test_requests(served: Drivers) -> None:
    served.add("nbd", "n", server=UNIX, export=EXPORT, discard="unmap")
    served.look()
    served.edges()
    served.io("n", "write -P 1 0 64k", "write -P 2 1000 100", "read 0 128k", "read -P 2 1000 100")
    served.io("n", "write -z 64k 64k", "write -zu 128k 64k", "write -zn 32k 8k", "discard 8k 16k")
    served.io("n", "write -f -P 3 512k 4k", "flush", "map", "read -P 3 512k 4k", "info")
    served.add("raw", "over", file="n")
    served.execute("block-dirty-bitmap-add", node="over", name="b")
    served.io("over", "write -P 4 700k 70000", "read -v 700k 16", "map")
    served.look()
    served.delete("over")
    served.delete("n")
    served.same_bytes("a.raw")


@pytest.mark.parametrize(
    "options",
    [
        {"server": {"type": "unix", "path": "nope"}, "export": EXPORT},
        {"server": {"type": "unix", "path": "b.raw"}, "export": EXPORT},
        {"server": {"type": "unix", "path": "x" * 200}},
        {"server": {"type": "inet", "host": "127.0.0.1", "port": "1"}},
        {"server": {"type": "inet", "host": "nohost.invalid", "port": "1"}},
        {"server": {"type": "inet", "host": "localhost", "port": "noport"}},
        {"server": {"type": "fd", "str": "x"}},
        {"server": UNIX},
        {"server": UNIX, "export": "wrong"},
        {"server": UNIX, "export": "x" * 4097},
        {"server": UNIX, "export": EXPORT, "x-dirty-bitmap": "qemu:nope"},
        {"server": UNIX, "export": EXPORT, "x-dirty-bitmap": "x" * 4097},
        {"server": UNIX, "export": EXPORT, "tls-creds": "nope"},
        {"server": UNIX, "export": EXPORT, "bogus": 1},
        {"server": UNIX, "export": EXPORT, "open-timeout": -1},
        {"server": UNIX, "export": EXPORT, "reconnect-delay": 1 << 32},
        {"export": EXPORT},
    ],
)
def test_refused(nbd: Drivers, options: dict[str, Any]) -> None:
    nbd.add("nbd", "n", **options)


@pytest.fixture(scope="module")
def running(programs: Drivers) -> Iterator[None]:
    """Servers that stay for all tests that only knock."""
    programs.make("kept", 1 << 20)
    servers = [serve("qemu-nbd", programs.scratch / side, "kept") for side in SIDES]
    yield
    for server in servers:
        stop(server)


@pytest.fixture
def nbd(pair: Drivers, running: None) -> Drivers:
    return pair


def test_options_across_reopen(nbd: Drivers) -> None:
    options = {"driver": "nbd", "node-name": "n", "server": UNIX, "export": EXPORT}
    nbd.execute("blockdev-add", **options, **{"reconnect-delay": 5})
    nbd.reopen(options)
    nbd.reopen({**options, "reconnect-delay": 6})
    nbd.reopen({**options, "reconnect-delay": 5, "export": "other"})
    nbd.reopen({**options, "reconnect-delay": 5, "server": {"type": "unix", "path": "x"}})
    nbd.reopen({**options, "reconnect-delay": 5, "read-only": True, "discard": "unmap"})
    nbd.look()
    nbd.io("n", "write 0 4k")
    nbd.reopen({**options, "reconnect-delay": 5})
    nbd.io("n", "write 0 4k")


def test_sizes(nbd: Drivers) -> None:
    nbd.add("nbd", "n", server=UNIX, export=EXPORT)
    for size in (1 << 20, 1 << 19, 1 << 21):
        nbd.execute("block_resize", **{"node-name": "n", "size": size})
    nbd.execute("blockdev-create", **{"job-id": "j", "options": {"driver": "nbd"}})


@pytest.mark.parametrize("kind", KINDS)
def test_read_only(pair: Drivers, kind: str) -> None:
    servers = start(pair, kind, read_only=True)
    options: dict[str, Any] = {"driver": "nbd", "node-name": "n", "server": UNIX, "export": EXPORT}
    pair.execute("blockdev-add", **options)
    pair.execute("blockdev-add", **options, **{"auto-read-only": True})
    pair.look()
    pair.io("n", "write 0 4k", "discard 0 4k", "read 0 4k")
    pair.reopen({**options, "auto-read-only": True})
    pair.reopen(options)
    pair.delete("n")
    pair.execute("blockdev-add", **options, **{"read-only": True})
    pair.look()
    pair.clear()
    for server in servers:
        stop(server)


def test_a_yanked_node_is_connected_no_more(nbd: Drivers) -> None:
    nbd.add("nbd", "n", server=UNIX, export=EXPORT, **{"reconnect-delay": 5})
    nbd.execute("query-yank")
    instance = {"type": "block-node", "node-name": "n"}
    nbd.execute("yank", instances=[instance, {**instance, "node-name": "x"}])
    nbd.io("n", "read 0 4k")
    nbd.execute("yank", instances=[instance])
    nbd.io("n", "read 0 4k", "write 0 4k", "flush")
    nbd.execute("query-yank")
