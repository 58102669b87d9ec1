"""A program that is ended while its jobs are at work, and what it leaves behind."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from qmpd.profile.shipped import DEFAULT
from qmpd.sim.record.flips import Flips
from tests.interop.bench import qemu_img, qemu_io
from tests.server.test_daemon_life import Client
from tests.support.known import known
from tests.support.normal import normal, normal_text
from tests.support.programs import qmpd_argv
from tests.support.stdio import Gone, StdioProgram

CLUSTER = 65536
SIZE = 4 << 20

SYSTEM = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
MONITOR = {
    "system": [*SYSTEM, "-qmp", "stdio", "-qmp", "unix:second,server=on,wait=off"],
    "storage-daemon": [
        "qemu-storage-daemon",
        *("--chardev", "stdio,id=c", "--monitor", "c"),
        *("--chardev", "socket,id=d,path=second,server=on,wait=off", "--monitor", "d"),
    ],
}
"""Command lines by personality; a second monitor is on socket ``second``."""


def serve(personality: str) -> list[str]:
    """``qmpd serve`` as one of them."""
    argv = [sys.executable, "-I", "-m", "qmpd.cli.main", "serve", "--as", personality]
    return [*argv, "--storage", "host", "--qmp", "stdio", "--qmp", "unix:second"]


def ours(personality: str) -> list[str]:
    """qmpd's program of the same name."""
    return qmpd_argv(MONITOR[personality])


IMAGES = ("base", "mid", "disk", "other", "third-base", "third-mid", "third", "t", "u")


def make_images(folder: Path) -> None:
    """A chain of three with a persistent bitmap that has dirty areas; disks and targets."""
    folder.mkdir()

    def create(name: str, backing: str | None, first: int, count: int) -> None:
        chain = [] if backing is None else ["-b", backing, "-F", "qcow2"]
        path = folder / name
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", *chain, name, str(SIZE)],
            cwd=folder,
            check=True,
        )
        if count:
            qemu_io(path, f"write -q -P {first + 1} {first * CLUSTER} {count * CLUSTER}")

    for prefix, top in (("", "disk"), ("third-", "third")):
        create(f"{prefix}base", None, 0, 16)
        create(f"{prefix}mid", f"{prefix}base", 8, 16)
        create(top, f"{prefix}mid", 20, 4)
    create("other", None, 3, 5)
    for target in ("t", "u"):
        create(target, None, 0, 0)
    for name in ("p", "q"):
        qemu_img("bitmap", "--add", folder / "disk", name)
    qemu_img("bitmap", "--disable", folder / "disk", "q")
    qemu_io(folder / "disk", f"write -q -P 7 0 {3 * CLUSTER}", f"write -q -P 8 {30 * CLUSTER} 4k")


_FRAGMENTED = re.compile(r"[\d.]+% fragmented, ")
_PROGRAM = re.compile(r"^\S+: ", re.MULTILINE)


class Ending:
    """A program with node ``disk`` on ``mid`` on ``base``.

    :param argv: its command line
    :param folder: where it is to run; not there yet
    :param images: what `make_images` has made
    :param guest: whether its monitor can do what a guest does
    :param version: of QEMU; what it does not know is left out of requests
    """

    def __init__(
        self,
        argv: list[str],
        folder: Path,
        images: Path,
        *,
        guest: bool,
        version: str = DEFAULT,
    ) -> None:
        shutil.copytree(images, folder)
        self.folder = folder
        self.said: list[Any] = []
        """Events but for the pairs that drains make."""
        self.failing: dict[str, Any] | None = None
        """What blkdebug injects below the next target."""
        self._flips = Flips()
        self._images = images
        self._has_guest = guest
        self.version = version
        self.program = StdioProgram(argv, folder)
        self.program.message()
        self.do("qmp_capabilities")
        self.add_disk("disk", mid="mid", base="base")

    def add_disk(self, name: str, *, mid: str | None = None, base: str | None = None) -> None:
        """Add an image of `make_images`, with what is below it."""
        backing: Any = None
        for node in (base, mid):
            if node is not None:
                backing = self._qcow2(node, backing)
        self.do("blockdev-add", **self._qcow2(name, backing))

    @staticmethod
    def _qcow2(name: str, backing: Any) -> dict[str, Any]:
        file = {"driver": "file", "filename": name}
        return {"driver": "qcow2", "node-name": name, "file": file, "backing": backing}

    def target(self, name: str) -> None:
        """Add a target, with the fault of `failing`."""
        file: dict[str, Any] = {"driver": "file", "filename": name}
        if self.failing is not None:
            rules = [{**self.failing, "sector": 0x50000 // 512}]
            file = {"driver": "blkdebug", "image": file, "inject-error": rules}
        self.do("blockdev-add", driver="qcow2", node_name=name, file=file)

    # Talking

    def do(self, command: str, /, **arguments: Any) -> Any:
        """Run a command that must succeed."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        named = known(self.version, command, named)
        *before, answer = self.program.execute({"execute": command, "arguments": named})
        for message in before:
            self._note(message)
        assert "return" in answer, (command, answer)
        return answer["return"]

    def guest(self, line: str) -> None:
        """Have a guest do what a qemu-io command says, if there may be one."""
        if self._has_guest:
            self.do("human-monitor-command", command_line=f'qemu-io disk "{line}"')

    def _job(self, name: str) -> dict[str, Any]:
        jobs: list[dict[str, Any]] = self.do("query-jobs")
        return next(job for job in jobs if job["id"] == name)

    def until_copied(self, job: str, length: int) -> None:
        """Wait until a job has copied `length` bytes."""
        while self._job(job)["current-progress"] < length:
            pass

    def until_state(self, job: str, status: str) -> None:
        """Wait until a job is in a state."""
        while self._job(job)["status"] != status:
            pass

    def until_synced(self, job: str) -> None:
        """Wait until a ready job has nothing left to copy."""
        while (shown := self._job(job))["current-progress"] < shown["total-progress"]:
            pass

    def _note(self, message: Any) -> None:
        if not self._flips.is_flip(message):
            self.said.append(normal(message, str(self.folder)))

    # The end

    def quit(self) -> None:
        self.program.send(b'{"execute": "quit"}\n')

    def sigterm(self) -> None:
        self.program.process.send_signal(signal.SIGTERM)

    def client_lost(self) -> None:
        """The client goes; its jobs stay until the signal."""
        self._lose_client()
        with Client(str(self.folder / "second")) as client:
            client.negotiated()
            self.said.append(self._states(client))
        self.sigterm()

    def quit_by_the_next(self) -> None:
        """The client goes; another one says quit, and hears what that means."""
        self._lose_client()
        with Client(str(self.folder / "second")) as client:
            client.negotiated()
            self.said.append(self._states(client))
            client.send('{"execute": "quit"}')
            while (message := client.message()) is not None:
                self._note(message)
        self._flips = Flips()

    @staticmethod
    def _states(client: Client) -> list[tuple[str, str]]:
        jobs = client.execute("query-jobs")["return"]
        return [(job["id"], job["status"]) for job in jobs]

    def _lose_client(self) -> None:
        assert self.program.process.stdin is not None
        self.program.process.stdin.close()

    def left(self) -> dict[str, Any]:
        """Wait for the end; all that was said, and what is found afterwards."""
        try:
            while True:
                line = self.program.line()
                if line.startswith(b"{"):
                    self._note(json.loads(line))
                else:
                    self.said.append(line)
        except Gone as gone:
            complaints = normal_text(str(gone), str(self.folder))
        status = self.program.process.wait(10)
        self.program.close()
        found: dict[str, Any] = {
            "said": self.said,
            "status": status,
            "stderr": _PROGRAM.sub("", complaints),
        }
        for name in IMAGES:
            found[name] = self._image(name)
        found["bitmaps"] = self._bitmaps()
        return found

    def _image(self, name: str) -> Any:
        path = self.folder / name
        if path.read_bytes() == (self._images / name).read_bytes():
            return "as it was"
        check = subprocess.run(["qemu-img", "check", path], capture_output=True, text=True)
        info = json.loads(qemu_img("info", "--output=json", path))
        copy = self.folder / "copy"
        qemu_img("convert", "-O", "raw", path, copy)
        return {
            "check": _FRAGMENTED.sub(
                "", normal_text(check.stdout + check.stderr, str(self.folder))
            ),
            "info": normal(info, str(self.folder)),
            "content": hashlib.sha256(copy.read_bytes()).hexdigest(),
            "map": self._map(path),
        }

    @staticmethod
    def _map(path: Path) -> list[Any]:
        """What is where, but for the places in the file: requests overtake each other."""
        areas: list[Any] = []
        for area in json.loads(qemu_img("map", "--output=json", path)):
            kind = {name: area[name] for name in ("depth", "present", "zero", "data")}
            if areas and areas[-1][2] == kind:
                areas[-1][1] += area["length"]
            else:
                areas.append([area["start"], area["length"], kind])
        return areas

    def _bitmaps(self) -> Any:
        """What the real program finds in ``disk``."""
        argv = ["qemu-storage-daemon", "--chardev", "stdio,id=c", "--monitor", "c"]
        program = StdioProgram(argv, self.folder)
        program.message()
        node = self._qcow2("disk", None)
        program.execute({"execute": "qmp_capabilities"})
        program.execute({"execute": "blockdev-add", "arguments": {**node, "read-only": True}})
        answers = [program.execute({"execute": "query-named-block-nodes"})[-1]["return"]]
        [shown] = [one["dirty-bitmaps"] for one in answers[0] if one["node-name"] == "disk"]
        for bitmap in shown:
            named = {"node": "disk", "name": bitmap["name"]}
            request = {"execute": "x-debug-block-dirty-bitmap-sha256", "arguments": named}
            bitmap["sha256"] = program.execute(request)[-1]
        program.close()
        return shown
