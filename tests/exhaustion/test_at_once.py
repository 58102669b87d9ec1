"""A long transaction is one moment to all others, though some of them have their turn meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path

from benchmarks.nbd_client import Connection
from tests.exhaustion.beside import Client, serving
from tests.exhaustion.nbd import export, write

BITMAPS = 3000
GRANULE = 65536


def all_of(client: Client, kind: str) -> None:
    """Do the same to all bitmaps, in one transaction."""
    data = [{"node": "disk", "name": f"b{number}"} for number in range(BITMAPS)]
    actions = [{"type": f"block-dirty-bitmap-{kind}", "data": each} for each in data]
    assert client.execute("transaction", actions=actions) == {"return": {}}


def counts(client: Client) -> set[int]:
    """How many dirty bytes the bitmaps have."""
    (node,) = (
        node
        for node in client.execute("query-named-block-nodes")["return"]
        if node["node-name"] == "disk"
    )
    assert len(node["dirty-bitmaps"]) == BITMAPS
    return {bitmap["count"] for bitmap in node["dirty-bitmaps"]}


def test_a_clients_writes_are_before_all_of_it_or_behind(tmp_path: Path) -> None:
    with serving(tmp_path, "--storage", "memory") as daemon:
        client = daemon.client()
        client.execute("blockdev-add", driver="null-co", node_name="disk", size=1 << 40)
        all_of(client, "add")
        nbd = Connection(export(client, tmp_path, "disk"), "disk")
        over = threading.Event()
        written: list[int] = []
        one_more = threading.Semaphore(0)

        def keep_writing() -> None:
            while not over.is_set():
                assert not write(nbd, len(written) * GRANULE, b"x" * 512)
                written.append(1)
                one_more.release()

        writer = threading.Thread(target=keep_writing)
        writer.start()
        try:
            for kind in ("clear", "disable", "enable", "clear"):
                all_of(client, kind)
                assert one_more.acquire(timeout=60)
        finally:
            over.set()
            writer.join()
        assert len(counts(client)) == 1
        nbd.close()
        client.close()
