"""What QEMU itself answers from run to run where it does not answer the same.

``python -m tests.golden.variants NAME RECORDING...`` writes `variants/NAME.json` from recordings of
the session's script (``qmp-record``, made with the real QEMU, some of them on a busy machine): for
each step, the sequences of messages that differ from the session's own.  A recording in which
the session took another course (a job had ended before it was paused, say) is left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.golden.session import Session, load
from tests.support.normal import normal

VARIANTS = Path(__file__).parent / "variants"

Answers = list[list[Any]]
"""Sequences of messages."""


class Step:
    """The sequences of messages that QEMU has sent in one step of a session.

    Numbers may be any between the least and the greatest that it has sent in a sequence which is
    otherwise the same: how far a job has come is a matter of microseconds.
    """

    def __init__(self, answers: Iterable[list[Any]]) -> None:
        self._ranges: dict[tuple[str, ...], list[list[tuple[int, int]]]] = {}
        for messages in answers:
            shapes, numbers = _split_all(messages)
            known = self._ranges.get(shapes)
            pairs = [[(n, n) for n in row] for row in numbers]
            if known is not None:
                pairs = [
                    [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(*rows, strict=True)]
                    for rows in zip(known, pairs, strict=True)
                ]
            self._ranges[shapes] = pairs

    def goes_on(self, messages: list[Any]) -> bool | None:
        """Whether more must come after `messages`; None where QEMU has never sent these."""
        shapes, numbers = _split_all(messages)
        longer = False
        for known, ranges in self._ranges.items():
            if known[: len(shapes)] != shapes:
                continue
            if not all(
                low <= number <= high
                for row, limits in zip(numbers, ranges, strict=False)
                for number, (low, high) in zip(row, limits, strict=True)
            ):
                continue
            if len(known) == len(shapes):
                return False
            longer = True
        return True if longer else None


def _split_all(messages: list[Any]) -> tuple[tuple[str, ...], list[list[int]]]:
    pairs = [_split(message) for message in messages]
    return tuple(shape for shape, _ in pairs), [numbers for _, numbers in pairs]


def _split(message: Any) -> tuple[str, list[int]]:
    """A message without its numbers, and these."""
    numbers: list[int] = []

    def without(value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            numbers.append(value)
            return "NUMBER"
        if isinstance(value, (list, tuple)):
            return [without(item) for item in value]
        return value

    return json.dumps(without(message)), numbers


def read(session: Session, name: str) -> list[Step]:
    """The steps of session `name`, with all that QEMU has been seen to send in each."""
    path = VARIANTS / f"{name}.json"
    more = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return [
        Step([normal(step.received), *more.get(str(number), [])])
        for number, step in enumerate(session.steps)
    ]


def _write(name: str, recordings: list[Path]) -> None:
    session = load(name)
    found: dict[int, Answers] = {}
    runs = [load(name, path) for path in recordings]
    for run in runs:
        if not _takes_same_course(session, run):
            continue
        for number, (step, other) in enumerate(zip(session.steps, run.steps, strict=True)):
            answer = json.loads(json.dumps(normal(other.received)))
            known = found.setdefault(number, [json.loads(json.dumps(normal(step.received)))])
            if answer not in known:
                known.append(answer)
    varying = {str(number): known[1:] for number, known in found.items() if len(known) > 1}
    rows = [f"{json.dumps(number)}: {_rows(answers)}" for number, answers in varying.items()]
    VARIANTS.mkdir(exist_ok=True)
    (VARIANTS / f"{name}.json").write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8")


def _rows(answers: Answers) -> str:
    return "[\n" + ",\n".join(json.dumps(answer) for answer in answers) + "\n]"


def _takes_same_course(session: Session, run: Session) -> bool:
    """Whether the same requests failed, with the same texts."""
    return [_errors(step.received) for step in session.steps] == [
        _errors(step.received) for step in run.steps
    ]


def _errors(messages: list[Any]) -> list[Any]:
    return [message["error"] for message in messages if "error" in message]


if __name__ == "__main__":
    _write(sys.argv[1], [Path(word) for word in sys.argv[2:]])
