"""qmpd's storage daemon and QEMU's, with vhost-user exports of the same disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.export.vhost_client import VhostClient
from tests.support.programs import qemu_missing, qmpd_argv
from tests.support.stdio import StdioProgram

SECTOR = 512
SIZE = 4 << 20


class Exporter:
    """A storage daemon with a raw image as node `n`, and its clients."""

    def __init__(
        self, folder: Path, *arguments: str, real: bool, wrapper: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        folder.mkdir()
        self.image = folder / "disk.raw"
        with self.image.open("wb") as file:
            file.truncate(SIZE)
        file_node = f"driver=file,node-name=f,filename={self.image},discard=unmap"
        argv = ["qemu-storage-daemon", "--chardev", "stdio,id=c", "--monitor", "chardev=c"]
        argv += [
            "--blockdev",
            file_node,
            "--blockdev",
            "driver=raw,node-name=n,file=f,discard=unmap",
        ]
        argv = [*wrapper, *(argv if real else qmpd_argv(argv)), *arguments]
        argv = [word.replace("@", str(folder)) for word in argv]
        self.program = StdioProgram(argv, folder)
        self.program.message()
        self.do("qmp_capabilities")
        self.clients: list[VhostClient] = []

    def do(self, command: str, **arguments: Any) -> Any:
        """Run a command; its value, or the error's text."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        answer = self.program.execute({"execute": command, "arguments": named})[-1]
        return answer["return"] if "return" in answer else answer["error"]["desc"]

    def export(self, name: str = "v", **options: Any) -> Any:
        """Export the node."""
        options = {"node_name": "n", "writable": True, **options}
        address = {"type": "unix", "path": f"{self.folder}/{name}.sock"}
        return self.do("block-export-add", type="vhost-user-blk", id=name, addr=address, **options)

    def connect(self, name: str = "v", size: int = 8 << 20) -> VhostClient:
        """A new client."""
        self.clients.append(VhostClient(self.folder / f"{name}.sock", size))
        return self.clients[-1]

    def start(self, name: str = "v", queues: int = 1, **options: Any) -> VhostClient:
        """A new client that is ready for requests."""
        client = self.connect(name)
        client.start(queues, **options)
        return client

    def leave(self) -> None:
        """End the clients: only one is served at a time."""
        while self.clients:
            self.clients.pop().close()

    def close(self) -> None:
        """End clients and daemon."""
        self.leave()
        self.program.close()


@contextmanager
def running(folder: Path, *arguments: str, wrapper: Sequence[str] = ()) -> Iterator[list[Exporter]]:
    """Both daemons, QEMU's where it is installed.

    :param arguments: of their command lines; @ stands for the folder of each
    :param wrapper: a command that runs them
    """
    made: list[Exporter] = []
    try:
        made.append(Exporter(folder / "qmpd", *arguments, real=False, wrapper=wrapper))
        if qemu_missing() is None and shutil.which("qemu-storage-daemon") is not None:
            made.append(Exporter(folder / "qemu", *arguments, real=True, wrapper=wrapper))
        yield made
    finally:
        for exporter in made:
            exporter.close()


def same(exporters: list[Exporter], what: Callable[[Exporter], Any]) -> Any:
    """Do the same with both; what comes of it is the same."""
    results = [what(exporter) for exporter in exporters]
    assert results[0] == results[-1]
    return results[0]
