"""Mirrors to an image whose backing file is lost: what they say, and what stands where then."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.differential.pair import OPTIONS
from tests.support.normal import normal
from tests.support.stdio import StdioProgram
from tests.support.versions import MEASURED, both_argv

IMAGES = ("source.qcow2 1M", "lost.qcow2 1M", "-b lost.qcow2 -F qcow2 target.qcow2")


def _ends(program: StdioProgram, folder: Path) -> list[Any]:
    """What is said from the completion on, and the graph in the end."""
    said: list[Any] = []

    def do(command: str, arguments: dict[str, Any]) -> Any:
        *events, answer = program.execute({"execute": command, "arguments": arguments})
        said.extend(events)
        said.append(answer)
        return answer

    def wait(event: str) -> None:
        while not any(message.get("event") == event for message in said):
            said.append(program.message())

    program.message()
    do("qmp_capabilities", {})
    file = {"driver": "file", "filename": str(folder / "source.qcow2"), "node-name": "file"}
    do("blockdev-add", {"driver": "qcow2", "node-name": "source", "file": file})
    mirror = {"job-id": "j", "device": "source", "sync": "full", "mode": "existing"}
    where = {"target": str(folder / "target.qcow2"), "format": "qcow2", "node-name": "target"}
    do("drive-mirror", mirror | where)
    wait("BLOCK_JOB_READY")
    said.clear()
    answer = do("job-complete", {"id": "j"})
    if "error" in answer:
        do("job-cancel", {"id": "j"})
        wait("BLOCK_JOB_CANCELLED")
    else:
        wait("BLOCK_JOB_COMPLETED")
    # What of it is out before an answer is for other tests.
    said.sort(key=lambda message: "return" in message)
    nodes = program.execute({"execute": "query-named-block-nodes"})[-1]["return"]
    names = sorted(node["node-name"].partition("#")[0] for node in nodes)
    return [*(normal(message, str(folder)) for message in said), names]


@pytest.mark.parametrize("version", MEASURED)
def test_the_job_fails_and_the_target_takes_its_place(version: str, tmp_path: Path) -> None:
    argv = ["qemu-system-x86_64", *OPTIONS]
    seen = []
    for side, words in zip(("real", "ours"), both_argv(version, argv), strict=True):
        folder = tmp_path / side
        folder.mkdir()
        for image in IMAGES:
            make = ["qemu-img", "create", "-q", "-f", "qcow2", *image.split()]
            subprocess.run(make, cwd=folder, check=True)
        (folder / "lost.qcow2").unlink()
        program = StdioProgram(words, folder)
        try:
            seen.append(_ends(program, folder))
        finally:
            program.close()
    assert seen[1] == seen[0]
