"""Random lines of the human monitor, one after the other: each version shows the same."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.differential.hmp_lines import BOARD, IMAGES, NOT_ON_A_BOARD, OPTIONS, SET_UP, lines
from tests.differential.pair import Pair
from tests.support.normal import normal, normal_text
from tests.support.stdio import Gone, StdioProgram
from tests.support.versions import MEASURED, examples

_THREAD: Final = re.compile("thread_id=[0-9]+")
_SNAPSHOT: Final = re.compile(
    r"(\\r\\n(?:--|[0-9]+) +(?!vm-)\S*|vm-[0-9]+) +[0-9.]+ (?:[KM]i)?B +[0-9-]+ [0-9:]+ +[0-9:.]+"
)
_DISK_SIZE: Final = re.compile(r"disk size: [0-9.]+ (?:[KM]i)?B")
"""How many blocks a file has, which the file system decides."""

_OWN_NAME: Final = re.compile("vm-[0-9]{14}")
"""Of a snapshot that was given none."""

_TRANSFERRED: Final = re.compile(r"transferred( ram: |=)[0-9.]+ (?:[KM]i)?(?:kbytes|B)")
"""How long the state of a guest is, of which qmpd has less."""

_TIME: Final = re.compile(r"([a-z]+_time_ns)=[0-9]+")
_TIME_IN_TABLE: Final = re.compile("((?:Read: |Write:|Flush:).{42}).{25}")
"""How long requests took."""

_AMOUNT: Final = re.compile(": [0-9.]+(?= (?:kbytes|pages|mbps|ms))")
"""What depends on a guest's memory, which qmpd has none of."""

_HELP: Final = re.compile(r'(\{"return": "(?:info )?)[a-z|?_-]+ (?:[^"\\]|\\.)* -- ')

GONE: Final = "it has ended"

STATE: Final = (
    *("query-block", "query-named-block-nodes", "query-block-jobs", "query-jobs", "query-status"),
    *("query-block-exports", "query-iothreads", "query-chardev", "query-migrate-parameters"),
)
"""What is compared after the last line."""

LEFT_OUT: Final = frozenset(
    {"actual-size", "date-sec", "date-nsec", "vm-clock-sec", "vm-clock-nsec", "vm-state-size"}
    | {"thread-id", "name"}
)

AT_REST: Final = ("paused", "standby", "concluded", "pending")

LINES: Final = 25
"""Lines of an example."""

SEED: Final = os.environ.get("QMPD_HMP_SEED", "0")


class Monitors(Pair):
    """Both programs with drives and nodes, asked for lines of the human monitor."""

    def __init__(self, scratch: Path, version: str, *more: str) -> None:
        (scratch / "real").mkdir(parents=True)
        for image in IMAGES:
            make = ["qemu-img", "create", "-q", *image.split()]
            subprocess.run(make, cwd=scratch / "real", check=True)
        shutil.copytree(scratch / "real", scratch / "ours")
        super().__init__(scratch, *OPTIONS, *more, version=version)
        for node in SET_UP:
            self.execute("blockdev-add", **node)

    def run(self, line: str) -> tuple[Any, Any]:
        """What the real one answers and prints, and what qmpd does."""
        request = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
        shown = [self._shown(name, request) for name in ("real", "ours")]
        if "device_del" in line and GONE not in shown[0]:
            self.wait_for_drives()
        return shown[0], shown[1]

    def wait_for_drives(self) -> None:
        """Wait until drives of devices that are gone are gone in both, if they ever will be."""
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            told = [
                program.execute({"execute": "query-block"})[-1]["return"]
                for program in (self.real, self.ours)
            ]
            if len(told[0]) == len(told[1]):
                return

    def _shown(self, name: str, request: dict[str, Any]) -> list[str]:
        program: StdioProgram = getattr(self, name)
        found: list[str] = []
        try:
            program.send(json.dumps(request).encode())
            while not found or not found[-1].startswith(('{"return"', '{"error"')):
                found.append(program.line().decode())
            _settle(program)
        except (Gone, BrokenPipeError):
            found.append(GONE)
        except TimeoutError:
            if name != "real":
                raise
            program.process.kill()
            found.append(GONE)
        told = [text for text in found if not text.startswith('{"timestamp"')]
        return [_alike(normal_text(text, str(self.scratch / name))) for text in told]


def _alike(text: str) -> str:
    """The same in both: help is in words of each, and lists what each of them serves."""
    # since 11.1 monitors are objects
    text = text.replace(r"compat_monitor0 (child<monitor-qmp>)\r\n", "")
    text = _TRANSFERRED.sub(r"transferred\1SIZE", text)
    if "Migration status" in text:
        text = _AMOUNT.sub(": NUMBER", text)
    text = _TIME_IN_TABLE.sub(r"\1 TIME", _TIME.sub(r"\1=TIME", text))
    text = _DISK_SIZE.sub("disk size: SIZE", text)
    text = _SNAPSHOT.sub(r"\1 SIZE DATE CLOCK", _THREAD.sub("thread_id=", text))
    text = _OWN_NAME.sub("vm-TIME", text)
    return text if (found := _HELP.match(text)) is None else found[1]


def _settle(program: StdioProgram) -> None:
    """Wait until no job is at work, and no migration has to be connected."""
    deadline = time.monotonic() + program.timeout
    quiet = 0
    # a job that is paused for a moment goes on after that
    while quiet < 3:
        jobs = program.execute({"execute": "query-jobs"})[-1]["return"]
        of_disks = program.execute({"execute": "query-block-jobs"})[-1]["return"]
        # one that is ready is standby a while after it was paused
        pausing = any(job["status"] == "ready" and job["paused"] for job in of_disks)
        quiet = quiet + 1 if all(map(_at_rest, jobs)) and not pausing else 0
        quiet = quiet if jobs else 3
        assert time.monotonic() < deadline
    while program.execute({"execute": "query-migrate"})[-1]["return"].get("status") == "setup":
        assert time.monotonic() < deadline


def _at_rest(job: dict[str, Any]) -> bool:
    # one that is ready copies what is written after that, in its time
    done = job["current-progress"] == job["total-progress"]
    return job["status"] in AT_REST or (job["status"] == "ready" and done)


@pytest.mark.parametrize("version", MEASURED)
def test_random_lines(version: str, tmp_path: Path) -> None:
    place = MEASURED.index(version)
    differences = []
    for number in range(examples(version, 3, few=3)):
        random = Random(f"{SEED}/{place}/{number}")
        more = BOARD if random.random() < 0.3 else ()
        monitors = Monitors(tmp_path / str(number), version, *more)
        try:
            said = [line for line in lines(random, LINES) if not more or _on_board(line)]
            if (found := play(monitors, said)) is not None:
                differences.append(f"{number}: {found}")
        finally:
            monitors.close()
    assert not differences, "\n".join(differences)


def _on_board(line: str) -> bool:
    # the registers of its processors are not known either
    return "$pc" not in line and not NOT_ON_A_BOARD & {line.strip(' "').split("/")[0]}


def play(monitors: Monitors, said: list[str]) -> str | None:
    """Give both these lines; what is not the same, if anything is."""
    unnamed = 0
    for count, line in enumerate(said, 1):
        unnamed += line.strip() == "savevm"
        if line.strip() == "savevm" and unnamed > 1:
            # it takes the place of the first, or not, by the second in which it comes
            continue
        real, ours = monitors.run(line)
        if GONE in real or "qmpd" in ours[-1]:
            # QEMU has faults of its own, and qmpd says what it does not do
            return None
        if ours != real:
            return f"{said[:count]}\n  {real}\n  {ours}"
        if monitors.version == "5.2" and "drive_backup" in line and "Error" in real[-1]:
            # the device stands still from then on, in QEMU: it forgets to end a drain
            return None
    monitors.wait_for_drives()
    for command in STATE:
        real, ours = (
            normal(_plain(program.execute({"execute": command})[-1]), str(monitors.scratch / name))
            for program, name in ((monitors.real, "real"), (monitors.ours, "ours"))
        )
        if ours != real:
            return f"{said}\n {command}\n  {real}\n  {ours}"
    return None


def _plain(value: Any) -> Any:
    """The same without what depends on the file system, the time or the guest's memory."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        if value.get("format") == "file":
            # how long it is depends on the state of the guest that was saved in it
            value = {**value, "virtual-size": "SIZE"}
        return {name: _plain(each) for name, each in value.items() if name not in LEFT_OUT}
    return value


FOUND: Final = (
    *("info migrate", "savevm x", "info migrate", "loadvm x", "delvm x", "info migrate"),
    *("drive_mirror -n n1 top", "drive_mirror -n n0 base", "drive_backup -n n0 base"),
    *('qemu-io empty "map"', "migrate unix:sock", "info migrate", "migrate -d tcp:127.0.0.1:1"),
    *("savevm s", "migrate_continue active", "migrate_continue completed"),
    *("object_add container,id=x", "object_add nosuch,id=x", "object_add id=x"),
    # what makes images is looked for before the name is read
    *("drive_mirror hd null-co:/x", "drive_mirror hd nbd:x", "snapshot_blkdev hd blkdebug:x"),
    # who else uses the backing file objects to a commit, and is not moved
    *("snapshot_blkdev hd new", "nbd_server_start unix:sock", "nbd_server_add -w top n0"),
    *("commit hd", "nbd_server_remove n0", "commit hd"),
)
"""Lines that once differed."""


@pytest.mark.parametrize("version", MEASURED)
def test_lines_found(version: str, tmp_path: Path) -> None:
    monitors = Monitors(tmp_path / "x", version)
    for line in FOUND:
        real, ours = monitors.run(line)
        assert ours == real, line
    monitors.close()


FOUND_ON_A_BOARD: Final = (
    *("mouse_set 1", "mouse_set 2", "mouse_set 9", 'qemu-io hd "info"'),
    *("chardev-add ringbuf,id=c1,size=16", "chardev-remove c1", "chardev-add null,id=c1"),
    *("chardev-change c1 null,id=c1", "chardev-add null,id=c2", "chardev-add null,id=c2"),
)


@pytest.mark.parametrize("version", MEASURED)
def test_lines_found_on_a_board(version: str, tmp_path: Path) -> None:
    monitors = Monitors(tmp_path / "x", version, *BOARD)
    for line in FOUND_ON_A_BOARD:
        real, ours = monitors.run(line)
        assert ours == real, line
    monitors.close()


@pytest.mark.parametrize("version", MEASURED)
def test_saved_state_is_a_migration(version: str, tmp_path: Path) -> None:
    monitors = Monitors(tmp_path / "x", version)
    events = [{"capability": "events", "state": True}]
    monitors.execute("migrate-set-capabilities", capabilities=events)
    # 5.2 takes no snapshot beside a node that cannot have one
    monitors.execute("blockdev-del", **{"node-name": "n0"})
    monitors.execute("human-monitor-command", **{"command-line": "savevm x"})
    told = []
    for program in (monitors.real, monitors.ours):
        info = program.execute({"execute": "query-migrate"})[-1]["return"]
        del info["ram"]["transferred"]
        told.append(info)
    assert told[1] == told[0]
    monitors.close()
