"""QMP as bytes: what is JSON, what is not, and what is cut off."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

from tests.exhaustion.beside import Client
from tests.fuzz.fuzzer import LIMIT, Fuzzer, sound
from tests.fuzz.mutate import mutated
from tests.wire.test_json_stream import TOKENS
from tests.wire.test_live import MEMBERS, MORE_TOKENS, SCALARS

REQUESTS: Final = [
    json.dumps(request).encode()
    for request in (
        {"execute": "query-block", "id": 1},
        {"execute": "query-named-block-nodes", "arguments": {"flat": True}},
        {"execute": "query-command-line-options", "arguments": {"option": "drive"}},
        {"execute": "query-blockstats", "id": {"a": [None, 1.5, "x\u00e9\U0001f600"]}},
        {"execute": "block-dirty-bitmap-add", "arguments": {"node": "disk0", "name": "b"}},
        {"execute": "block-dirty-bitmap-remove", "arguments": {"node": "disk0", "name": "b"}},
        {"execute": "transaction", "arguments": {"actions": [{"type": "abort", "data": {}}]}},
        {"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}},
        {"exec-oob": "query-status", "id": "o"},
        {"execute": "query-jobs"},
    )
]


def _members(chance: Random) -> bytes:
    """An object that may be a request."""
    made = []
    for _ in range(chance.randrange(5)):
        value = b'"id":' + chance.choice(SCALARS)
        made.append(chance.choice((chance.choice(MEMBERS), value)))
    return b"{" + b",".join(made) + b"}\n"


def _piece(chance: Random) -> bytes:
    match chance.randrange(6):
        case 0:
            return bytes(chance.choice(TOKENS + MORE_TOKENS))
        case 1:
            return chance.randbytes(chance.randrange(5))
        case 2:
            return _members(chance)
        case 3:
            return chance.choice(REQUESTS)
        case 4:
            return mutated(chance, chance.choice(REQUESTS), chance.randrange(1, 6))
        case _:
            count = chance.choice((1, 10, 100, 1100, 5000))
            return bytes(chance.choice((b"[", b'{"a":', b"]", b" ", b"1", b'"', b"a"))) * count


class Wire(Fuzzer):
    """A client of a monitor; an input is what it sends, in pieces, and whether it leaves then."""

    name = "wire"
    warm_up = 3000

    @staticmethod
    def make(chance: Random) -> Any:
        whole = b"".join(_piece(chance) for _ in range(chance.randrange(1, 9)))
        cuts = sorted(chance.randrange(len(whole) + 1) for _ in range(chance.choice((0, 0, 1, 3))))
        pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        leaves = chance.random() < 0.05
        return {"pieces": [piece.decode("latin-1") for piece in pieces], "leaves": leaves}

    def begin(self) -> None:
        self._number = 0
        self._client = self._connect()

    def _connect(self) -> Client:
        return Client(self.daemon.folder / "hostile", timeout=LIMIT)

    def play(self, made: Any) -> int:
        for piece in made["pieces"]:
            self._client.send(piece.encode("latin-1"))
        if made["leaves"]:
            self._client.close()
            self._client = self._connect()
            return 1
        self._number += 1
        mark = b'"canary %d"' % self._number
        self._client.send(b'\xff{"execute": "query-status", "id": ' + mark + b"}")
        while mark not in sound(self._client.line()):
            pass
        return 1

    def leave(self) -> None:
        self._client.close()
