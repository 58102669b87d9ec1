"""Damaged qcow2 images: opened, used and closed."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

from tests.exhaustion.beside import Client
from tests.fuzz.fuzzer import LIMIT, Fuzzer, sound
from tests.qcow2.damaged import Damage, requests
from tests.qcow2.test_damage import KINDS, pristine

NAME: Final = "i"


def _changes(whole: bytes, damaged: bytes) -> list[list[Any]]:
    """Where two of the same beginning differ, and what is there in the second."""

    def differ(start: int, end: int, size: int) -> list[int]:
        return [
            at for at in range(start, end, size) if whole[at : at + size] != damaged[at : at + size]
        ]

    blocks = differ(0, len(damaged), 4096)
    places = [at for block in blocks for at in differ(block, block + 4096, 8)]
    return [[at, damaged[at : at + 8].hex()] for at in places]


class Qcow2(Fuzzer):
    """An input is a kind of image, its damage, and what is done with it then."""

    name = "qcow2"
    options = ("--storage", "host")
    warm_up = 200
    # A damaged header may name 65,000 snapshots: the journal keeps 64 MiB of such answers.
    memory = 96 << 20

    @staticmethod
    def make(chance: Random) -> Any:
        kind = chance.randrange(len(KINDS))
        whole = pristine(kind)[0]
        damaged = Damage(chance, whole).apply()
        return {
            "kind": kind,
            "length": len(damaged),
            "changes": _changes(whole[: len(damaged)], damaged),
            "requests": list(requests(chance, NAME)),
        }

    def begin(self) -> None:
        self._client = Client(self.daemon.folder / "hostile", timeout=LIMIT)

    def play(self, made: Any) -> int:
        data = bytearray(pristine(made["kind"])[0][: made["length"]])
        for at, value in made["changes"]:
            data[at : at + 8] = bytes.fromhex(value)
        path = self.daemon.folder / f"{NAME}.qcow2"
        path.write_bytes(data)
        self._client.send(b"\n".join(json.dumps(each).encode() for each in made["requests"]))
        for _ in made["requests"]:
            while sound(self._client.line()).startswith(b'{"timestamp"'):
                pass
        path.unlink()
        return 1

    def leave(self) -> None:
        self._client.close()
