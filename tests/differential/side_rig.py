"""A program with disks that jobs work on side by side, and all that it says to commands."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from qmpd.profile.shipped import DEFAULT
from tests.interop.bench import ImageBench, qemu_io
from tests.support.event_text import event_text
from tests.support.known import known
from tests.support.normal import normal
from tests.support.stdio import Gone, StdioProgram
from tests.support.versions import DAEMON, WITH_MONITOR, both_argv

CLUSTER: Final = 65536
SIZE: Final = 16 * CLUSTER
DISKS: Final = 4
QUIET: Final = 0.04
"""Seconds in which nothing is said when a program is held to be at rest."""

SLOW: Final = {"device_del": 0.25, "system_reset": 0.25}
"""The same for commands after which devices end, which takes a while."""

ARGV: Final = (
    *("qemu-system-x86_64", "-S", "-machine", "pc", "-nodefaults", "-display", "none"),
    *("-device", "virtio-scsi-pci,id=scsi", "-device", "scsi-cd,id=cd,bus=scsi.0"),
    *("-device", "qemu-xhci,id=usb", "-qmp", "stdio"),
)

Step = tuple[str, dict[str, Any]]
"""A command and its arguments; ``@`` stands for the folder of the program."""


SERVER: Final[Step] = (
    "nbd-server-start",
    {"addr": {"type": "unix", "data": {"path": "socket"}}},
)
CLIENT: Final = "qemu-io"
"""A step that is no command: what a client of an export does."""


@cache
def image(byte: int | None = None) -> bytes:
    """A qcow2 image of `SIZE` bytes, the first half of which are `byte`, if one is given."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.qcow2"
        bench = ImageBench()
        bench.create(path, SIZE, {})
        bench.close()
        if byte is not None:
            qemu_io(path, f"write -q -P {byte} 0 {SIZE // 2}")
        return path.read_bytes()


class Rig:
    """A program with four disks, each an overlay of two images, and nodes to copy to.

    :param folder: where its images are made
    :param version: of QEMU; what it does not know is left out of requests
    :param daemon: whether it is the storage daemon, and has an NBD server
    """

    def __init__(
        self, folder: Path, *, real: bool, version: str = DEFAULT, daemon: bool = False
    ) -> None:
        folder.mkdir()
        self.folder = folder
        self.version = version
        argv = [DAEMON, *WITH_MONITOR[DAEMON]] if daemon else list(ARGV)
        self.program = StdioProgram(both_argv(version, argv)[0 if real else 1], folder)
        self.program.message()
        self._run("qmp_capabilities", {})
        (folder / "medium.raw").write_bytes(bytes(SIZE))
        for disk in range(DISKS):
            self._add_disk(disk)
        if daemon:
            self._run(*SERVER)

    def _add_disk(self, disk: int) -> None:
        backing = None
        for name in (f"base{disk}", f"mid{disk}", f"top{disk}"):
            path = self.folder / f"{name}.qcow2"
            path.write_bytes(image(None if backing is None else disk + 1))
            node = {"driver": "qcow2", "node-name": name, "backing": backing}
            self._run("blockdev-add", node | {"file": {"driver": "file", "filename": str(path)}})
            backing = name
        path = self.folder / f"t{disk}.raw"
        path.write_bytes(bytes(SIZE))
        file = {"driver": "file", "filename": str(path)}
        self._run("blockdev-add", {"driver": "raw", "node-name": f"t{disk}", "file": file})

    def _run(self, command: str, arguments: dict[str, Any]) -> None:
        """Run a command that must succeed, while there is no job."""
        answer = self.program.execute({"execute": command, "arguments": arguments})[-1]
        assert answer["return"] == {}, (command, arguments, answer)

    def do(self, command: str, arguments: dict[str, Any]) -> list[Any]:
        """Run a command; what came until the program was at rest, the answer included.

        What a `CLIENT` does is no command, but it is answered all the same.
        """
        where = str(self.folder)
        if command == CLIENT:
            said: list[Any] = [client(self.folder, **arguments)]
        else:
            arguments = known(self.version, command, arguments)
            text = {"execute": command, "arguments": placed(arguments, where)}
            said = [shown(message, where) for message in self.program.execute(text)]
        offsets, quiet = None, SLOW.get(command, QUIET)
        while True:
            try:
                said.append(shown(self.program.message(quiet), where))
            except TimeoutError:
                if self.program.at_work():
                    continue
                *events, answer = self.program.execute({"execute": "query-block-jobs"})
                said += [shown(event, where) for event in events]
                before, offsets = offsets, [job["offset"] for job in answer["return"]]
                if not events and before == offsets:
                    return said

    def close(self) -> None:
        """Kill the program: how it ends with jobs is for other tests."""
        self.program.process.kill()
        self.program.process.wait()
        self.program.close()


def client(folder: Path, export: str, line: str) -> str:
    """What a client prints that does one thing to an export of the server in `folder`."""
    argv = ["qemu-io", "-f", "raw", "-c", line, f"nbd+unix:///{export}?socket=socket"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=20)
    # The second line tells how long it took.
    return f"{done.returncode} {done.stdout.splitlines()[:1]} {done.stderr}"


def shown(message: dict[str, Any], folder: str) -> Any:
    """A message as it is compared."""
    return event_text(message) if "event" in message else normal(message, folder)


def placed(value: Any, folder: str) -> Any:
    """Arguments with the folder of the program in the place of ``@``."""
    if isinstance(value, dict):
        return {name: placed(one, folder) for name, one in value.items()}
    if isinstance(value, list):
        return [placed(one, folder) for one in value]
    return value.replace("@", folder) if isinstance(value, str) else value


def play(
    folder: Path,
    program: list[Step],
    *,
    real: bool,
    version: str = DEFAULT,
    daemon: bool = False,
) -> list[list[Any]]:
    """What a program says to each step; to none after one at which the real one ends or hangs."""
    rig = Rig(folder, real=real, version=version, daemon=daemon)
    said: list[list[Any]] = []
    try:
        for step in program:
            said.append(rig.do(*step))
    except (Gone, TimeoutError):
        if not real:
            raise
    finally:
        rig.close()
    return said
