"""Changes to bytes, by chance."""

from __future__ import annotations

from random import Random


def mutated(chance: Random, data: bytes, times: int = 1) -> bytes:
    """`data` with a few bytes changed, lost, doubled, moved or put in."""
    changed = bytearray(data)
    for _ in range(times):
        at = chance.randrange(len(changed) + 1)
        length = chance.choice((1, 1, 1, 2, 4, 8, 30))
        match chance.randrange(5):
            case 0 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[at : at + length]
            case 3:
                other = chance.randrange(len(changed) + 1)
                changed[other:other] = changed[at : at + length]
            case _:
                changed[at:at] = chance.randbytes(chance.choice((1, 1, 2, 4)))
    return bytes(changed)
