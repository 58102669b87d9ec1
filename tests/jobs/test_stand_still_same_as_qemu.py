"""Jobs that others begin and end beside: how often, and when, they stand still for a moment."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.block.files import Files
from tests.support.versions import MEASURED, real_argv

COPY: dict[str, Any] = {"device": "top", "target": "target", "sync": "full", "job-id": "copy"}
SLOWLY: dict[str, Any] = {"speed": 1, "buf-size": 65536, "granularity": 65536}
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "an image of the chain that has no backing file": ("block-stream", {"device": "base"}),
    "another image that has none": ("block-stream", {"device": "alone"}),
    "a filter whose name is taken": (
        "block-commit",
        {"device": "above", "top-node": "over", "base-node": "alone", "filter-node-name": "top"},
    ),
    "a filter whose name is none": (
        "block-commit",
        {"device": "above", "top-node": "over", "base-node": "alone", "filter-node-name": "%"},
    ),
    "a bad speed": ("block-commit", {"device": "above", "speed": -1}),
    "a taken id": ("block-stream", {"device": "above", "job-id": "copy"}),
}
MERGE: dict[str, Any] = {"device": "above", "top-node": "over", "base-node": "alone"}
REFUSED: dict[str, tuple[str, dict[str, Any], str, dict[str, list[str]]]] = {
    "a stream, for an image that nobody is to read": (
        "block-stream",
        {"device": "above"},
        "over",
        {"unshare-child-perms": ["consistent-read"]},
    ),
    "a stream, for an image that is written": (
        "block-stream",
        {"device": "above"},
        "over",
        {"take-child-perms": ["write"]},
    ),
    "a stream, for a base that is written": (
        "block-stream",
        {"device": "above", "base-node": "alone"},
        "alone",
        {"take-child-perms": ["write"]},
    ),
    "a commit, for a base that nobody is to write": (
        "block-commit",
        MERGE,
        "alone",
        {"unshare-child-perms": ["write"]},
    ),
    "a commit, for a base that is written": (
        "block-commit",
        MERGE,
        "alone",
        {"take-child-perms": ["write"]},
    ),
    "a commit of the active layer, for a base that nobody is to write": (
        "block-commit",
        {"device": "above", "base-node": "alone"},
        "alone",
        {"unshare-child-perms": ["write"]},
    ),
}
"""Jobs, and what another user of one of their images takes or does not share.

Where a stream has been refused for an image that is written, its reader stays, and nobody can keep
others from reading any more: such cases come after those that do.
"""


def _programs(version: str, scratch: Path, read_only: Sequence[str] = ()) -> Files:
    """Two chains, the upper images of both full, and a node to copy to."""
    argv = real_argv(version, ["qemu-img", "create", "-q", "-f", "qcow2"])
    both = Files(scratch, version=version)
    backing = {"base": None, "top": "base", "alone": None, "over": "alone", "above": "over"}
    for name, below in backing.items():
        for side in ("real", "ours"):
            subprocess.run([*argv, name, "1M"], cwd=both.scratch / side, check=True)
        file = {"driver": "file", "filename": name}
        both.add("qcow2", name, file=file, backing=below, read_only=name in read_only)
    for name in ("top", "over"):
        both.io(name, "write -q 0 1M")
    both.add("null-co", "target", size=1 << 20, read_zeroes=True)
    return both


@pytest.fixture(scope="module", params=MEASURED)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Files]:
    both = _programs(request.param, tmp_path_factory.mktemp("beside"))
    both.execute("blockdev-mirror", **COPY, **SLOWLY)
    for program in (both.real, both.ours):
        while _copied(program.execute({"execute": "query-jobs"})) < 65536:
            pass
    yield both
    both.close()


def _copied(messages: list[Any]) -> int:
    copied: int = messages[-1]["return"][0]["current-progress"]
    return copied


@pytest.mark.parametrize("other", OTHERS)
def test_beside(both: Files, other: str) -> None:
    """All that is said until the answer is compared."""
    command, arguments = OTHERS[other]
    both.execute(command, **({"job-id": "other"} | arguments))


@pytest.mark.parametrize("refused", REFUSED)
def test_whose_filter_goes_last(both: Files, refused: str) -> None:
    """A job that another user of an image objects to is forgotten before its filter is."""
    command, arguments, image, permissions = REFUSED[refused]
    if both.version == "5.2" and command == "block-stream" and "take-child-perms" in permissions:
        pytest.skip("QEMU 5.2 dies of that")
    _refused(both, command, arguments, image, permissions)


def _refused(
    both: Files,
    command: str,
    arguments: dict[str, Any],
    image: str,
    permissions: dict[str, list[str]],
) -> None:
    assert both.add("blkdebug", "user", image=image, **permissions) == {"return": {}}
    assert "error" in both.execute(command, **arguments, **{"job-id": "other"})
    both.delete("user")


@pytest.mark.parametrize("version", MEASURED)
def test_what_is_left(tmp_path: Path, version: str) -> None:
    """Images are read-only again; a stream's reader is forgotten on its image."""
    both = _programs(version, tmp_path, read_only=("above", "alone"))
    for refused in (
        "a stream, for an image that nobody is to read",
        "a commit, for a base that nobody is to write",
        "a commit of the active layer, for a base that nobody is to write",
        "a stream, for an image that is written",
    ):
        if version == "5.2" and refused == "a stream, for an image that is written":
            continue  # it dies of that
        _refused(both, *REFUSED[refused])
        for name in ("above", "alone"):
            both.io(name, "write 0 512")
    both.delete("above")
    both.close()


@pytest.mark.parametrize("version", MEASURED)
def test_the_order_in_which_they_go_on(tmp_path: Path, version: str) -> None:
    """A filter is younger than the nodes of another job."""
    both = _programs(version, tmp_path)
    backup = {"device": "top", "target": "target", "sync": "none", "job-id": "older"}
    both.execute("blockdev-backup", **backup)
    commit = {"device": "above", "top-node": "over", "base-node": "alone", "job-id": "younger"}
    both.execute("block-commit", **commit, speed=1)
    for program in (both.real, both.ours):
        while _copied(program.execute({"execute": "query-jobs"})) == 0:
            pass
    both.execute("transaction", actions=[{"type": "abort", "data": {}}])
    both.close()


@pytest.mark.parametrize("version", MEASURED)
@pytest.mark.parametrize("cancelled", ["first", "second"])
def test_when_the_jobs_of_a_group_let_go_of_their_nodes(
    tmp_path: Path, version: str, cancelled: str
) -> None:
    """The one that brings the group to its end does so last."""
    both = _programs(version, tmp_path)
    both.execute("blockdev-backup", **COPY | {"sync": "none"})
    actions = []
    for name in ("first", "second"):
        for node in (name, f"{name}-target"):
            both.add("null-co", node, size=1 << 20, read_zeroes=True)
        backup = {"device": name, "target": f"{name}-target", "sync": "none", "job-id": name}
        actions.append({"type": "blockdev-backup", "data": backup})
    grouped = {"completion-mode": "grouped"}
    both.execute("transaction", actions=actions, properties=grouped)
    both.execute("job-cancel", id=cancelled)
    both.close()
