"""How much a mirror has to copy before it is ready, as each version has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.block.files import Files
from tests.support.stdio import StdioProgram
from tests.support.versions import MEASURED

SIZE = 1 << 20


@pytest.fixture(scope="module", params=MEASURED)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Files]:
    both = Files(tmp_path_factory.mktemp("length"), version=request.param)
    for name in ("source", "target"):
        both.add("null-co", name, size=SIZE)
        both.add("null-co", f"{name}-of-zeroes", size=SIZE, read_zeroes=True)
    yield both
    both.close()


def _ready(program: StdioProgram, arguments: dict[str, Any]) -> Any:
    """What a mirror tells when it is ready; it is gone afterwards."""
    mirror = {"execute": "blockdev-mirror", "arguments": {**arguments, "job-id": "j"}}
    cancel = {"execute": "block-job-cancel", "arguments": {"device": "j", "force": True}}
    ready = _told(program, program.execute(mirror), "BLOCK_JOB_READY")
    _told(program, program.execute(cancel), "BLOCK_JOB_CANCELLED")
    return ready


def _told(program: StdioProgram, messages: list[Any], event: str) -> Any:
    """The data of an event, which may be among `messages` or come after them."""
    for message in messages:
        if message.get("event") == event:
            return message["data"]
    while (message := program.message()).get("event") != event:
        pass
    return message["data"]


@pytest.mark.parametrize("sync", ["full", "top", "none"])
@pytest.mark.parametrize("source", ["source", "source-of-zeroes"])
@pytest.mark.parametrize("target", ["target", "target-of-zeroes"])
def test_length(both: Files, source: str, target: str, sync: str) -> None:
    arguments = {"device": source, "target": target, "sync": sync}
    real, ours = (_ready(program, arguments) for program in (both.real, both.ours))
    assert ours == real
