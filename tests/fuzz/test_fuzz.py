"""A moment of each fuzzer, what it keeps, and a short soak."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.fuzz.fuzzer import Failed
from tests.fuzz.run import FUZZERS, replay_file, run
from tests.fuzz.soak import soak
from tests.fuzz.wire import Wire


@pytest.mark.parametrize("name", FUZZERS)
def test_a_moment(name: str, tmp_path: Path) -> None:
    result = run(FUZZERS[name], 1, 0.5, tmp_path, least=20)
    assert result.failure is None
    assert result.count >= 20


@pytest.mark.parametrize("name", FUZZERS)
def test_the_same_seed_makes_the_same_inputs(name: str) -> None:
    first, again, other = (FUZZERS[name].make(Random(seed)) for seed in (1, 1, 2))
    assert first == again != other


class Fragile(Wire):
    """One that takes it ill when something is sent after a bracket."""

    @staticmethod
    def make(chance: Random) -> Any:
        return {"pieces": [chance.choice(("1", "2", "["))], "leaves": False}

    def begin(self) -> None:
        super().begin()
        self._last = ""

    def play(self, made: Any) -> int:
        if self._last == "[":
            raise Failed("brackets")
        (self._last,) = made["pieces"]
        return super().play(made)


def test_what_goes_wrong_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(Fragile, 1, 20.0, tmp_path)
    assert result.failure == "brackets"
    assert result.kept is not None
    monkeypatch.setitem(FUZZERS, "wire", Fragile)
    assert replay_file(result.kept) == "brackets"
    monkeypatch.undo()
    assert replay_file(result.kept) is None


def test_soak() -> None:
    first, *_, last = soak(2000, quiet=True)
    assert last.descriptors <= first.descriptors
    assert last.memory < first.memory + (24 << 20)  # what is first needed then
