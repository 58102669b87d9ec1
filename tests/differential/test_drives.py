"""Drives by their options: what comes of them, and what is refused, is as with the real QEMU.

``QMPD_DRIVE_EXAMPLES=1000`` plays as many made-up combinations; the table here is of those that
have shown a difference.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.block.files import Files
from tests.differential.drive_options import DriveOptions, make_files
from tests.support.normal import normal
from tests.support.stdio import Gone, StdioProgram
from tests.support.versions import examples

VERSIONS: Final = ("5.2", "7.2", "10.0", "11.1")
EXAMPLES: Final = int(os.environ.get("QMPD_DRIVE_EXAMPLES", "25"))
SEED: Final = int(os.environ.get("QMPD_DRIVE_SEED", "0"))
QUERIES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("query-block", {}),
    ("query-named-block-nodes", {}),
    ("query-named-block-nodes", {"flat": True}),
)

TABLE: Final = (
    # children without a driver
    "file=q,backing.file.filename=r",
    "file=o,backing.file.filename=q",
    "file=o,backing.read-only=off",
    "file=or,backing.driver=qcow2",
    "file=on",
    "file=on,backing.filename=q",
    "file=on,backing.driver=null-co",
    "file=qd,data-file.filename=r",
    "driver=quorum,vote-threshold=2,children.0.file.filename=q,children.1.file.filename=o",
    "driver=quorum,vote-threshold=1,children.0.filename=r",
    "driver=quorum,vote-threshold=1,children.0=n0,children.2=n0",
    "driver=quorum,children.0=n0",
    "driver=quorum,vote-threshold=1,children.0=n0,read-pattern=foo",
    "file=q,driver=quorum,vote-threshold=1,children.0=n0",
    "driver=blkverify,raw.filename=r,test.filename=q",
    "driver=copy-before-write,file.filename=q,target.driver=null-co",
    "driver=copy-before-write,file.filename=q",
    "driver=throttle",
    "driver=throttle,file=n0",
    "driver=throttle,file.filename=q,throttle-group=g",
    # names in a driver's own notation
    "file=blkdebug::q",
    "file=blkdebug:cfg:q,file.image.node-name=x",
    "file=blkdebug:q",
    "file=blkdebug::blkdebug::null-co://",
    "driver=blkdebug,file=blkdebug::null-co://,align=65536",
    "driver=blkdebug,file=q",
    "driver=blkdebug,image.filename=q,x-image=r",
    "file=blkverify:r:q",
    "file=blkverify:q",
    "driver=raw,file=blkverify:q:q",
    "file=file:a:b",
    "file=file:q,file.filename=q",
    "file=foo:bar",
    "driver=null-co,file=null-aio://",
    "file=null-co://,size=1M",
    "file.driver=null-co,file.size=1M",
    "file=/dev/fd/nothing",
    'file=json:{"driver":"raw",,"size":65536,,"file.filename":"r"}',
    'file=json:{"driver":"null-co",,"size":"1M",,"read-zeroes":true}',
    'file=json:{"file":{"filename":"o"},,"backing":null}',
    'file=json:{"driver":"qcow2",,"file":"n0"}',
    "file=json:{",
    "file=json:[]",
    # options that nobody knows, or that are malformed
    "file=q,file.backing.driver=file,file.backing.filename=x",
    "file=o,backing.cache.writeback=off",
    "file=q,inject-error.0.event=none,inject-error.0.errno=5",
    "driver=blkdebug,image=n0,inject-error.0.event=none,inject-error.0.foo=1",
    "driver=blkdebug,image=n0,inject-error.event=none,inject-error.foo=1",
    "driver=blkdebug,image=n0,inject-error.1.event=none",
    "driver=blkdebug,image=n0,inject-error.0.once=on,inject-error.0.event=none",
    "driver=blkdebug,image=n0,take-child-perms.0=foo",
    "file=q,overlap-check.template=all,overlap-check=none",
    "file=q,overlap-check=foo",
    "driver=qcow2,file=r,lazy-refcounts=foo",
    "file=q,encrypt.format=luks",
    "file=q,read-only=foo",
    "file=q,file.read-only=foo",
    "file=q,file.discard=foo",
    "file=q,file.detect-zeroes=foo",
    "file=q,discard=foo",
    "file=nope,discard=foo",
    "driver=nonsense",
    "driver=mirror_top",
    "driver=commit_top,file=q",
    "driver=backup-top,file=q",
    "driver=nbd",
    "file=q,file.driver=nonsense",
    "driver=qcow2",
    "cache.direct=on",
    "file=q,format=raw,driver=raw",
    "file=q,cache=foo,media=foo",
    "file=q,rerror=foo,werror=bar",
    "file=q,aio=foo,bps=5,bps_rd=5",
    "file=q,bps=5,bps_rd=5,detect-zeroes=foo",
    "file=q,snapshot=on,aio=native,cache=none",
    "file=q,aio=native",
    "file=q,node-name=d",
    "file=q,node-name=n0",
    "file=q,node-name=1x",
    "file=q,backing=",
    "driver=null-co,backing=",
    "file=q,file=",
    "file.filename=",
)


class Drives(Files):
    """Both programs, with the files that options name, a node and a throttle group."""

    def __init__(self, scratch: Path, version: str) -> None:
        for side in ("real", "ours"):
            (scratch / side).mkdir()
            make_files(scratch / side, version)
        super().__init__(scratch, "-object", "throttle-group,id=g", version=version)
        self.add("null-co", "n0", size=1 << 20)

    def try_drive(self, options: str) -> bool:
        """Add a drive, look, and remove it; both must do the same.

        :returns: whether both are still there
        """
        seen: list[Any] = []
        for side, program in (("real", self.real), ("ours", self.ours)):
            try:
                answers = _try(program, options)
            except (Gone, TimeoutError, BrokenPipeError):
                if side == "real":
                    return False
                raise
            seen.append(normal(answers, str(self.scratch / side)))
        assert seen[1] == seen[0], options
        return True


def _try(program: StdioProgram, options: str) -> list[Any]:
    def run(line: str) -> Any:
        request = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
        return program.execute(request)[-1]

    before = len(program.stderr())
    answers = [run(f"drive_add 0 if=none,id=d,{options}")]
    for command, arguments in QUERIES:
        answers.append(program.execute({"execute": command, "arguments": arguments})[-1])
    answers += [run("drive_del d"), run("drive_del zz")]
    answers.append(program.execute({"execute": "query-named-block-nodes"})[-1])
    said = re.sub(r"(?m)^\S*qemu-system-x86_64: ", "", program.stderr()[before:])
    answers.append(said)
    text = repr(answers)
    for name in re.findall(r"vl\.(\w{6})", text):
        text = text.replace(name, "XXXXXX")
    return [text]


@pytest.fixture(scope="module", params=VERSIONS)
def drives(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Drives]:
    both = Drives(tmp_path_factory.mktemp("drives"), request.param)
    yield both
    both.close()


@pytest.mark.parametrize("options", TABLE)
def test_options_that_have_shown_a_difference(drives: Drives, options: str) -> None:
    assert drives.try_drive(options)


@pytest.mark.parametrize("version", VERSIONS)
def test_made_up_options(version: str, tmp_path: Path) -> None:
    made = DriveOptions(Random(SEED))
    wanted = examples(version, EXAMPLES)
    played, rigs = 0, 0
    while played < wanted:
        rigs += 1
        scratch = tmp_path / str(rigs)
        scratch.mkdir()
        both = Drives(scratch, version)
        alive = True
        while alive and played < wanted:
            # the real one ends at some options
            alive = both.try_drive(made.one())
            played += 1
        if not alive:
            both.real.process.kill()
        both.close()
