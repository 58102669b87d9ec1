"""A real QEMU for a test, where one is installed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from qmpd.errors import MachineClosed
from qmpd.testing.remote import RemoteMachine

INSTALLED: Final = Path(os.environ.get("QMPD_QEMUS") or "/opt/qemu")
"""Where versions of QEMU are, each below its number."""

PROGRAM: Final = "qemu-system-x86_64"

STOP_SECONDS: Final = 20.0
"""How long QEMU has to end by itself before it is killed."""


@cache
def find_qemu(version: str) -> str | None:
    """The program of a version of QEMU, from ``/opt/qemu/VERSION/bin`` or the PATH.

    ``QMPD_QEMUS`` in the environment names another folder than ``/opt/qemu``.

    :param version: major and minor, with the micro or without
    """
    installed = INSTALLED / version / "bin" / PROGRAM
    if installed.exists():
        return str(installed)
    path = shutil.which(PROGRAM)
    if path is None:
        return None
    banner = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"version (\d+\.\d+)(\.\d+)?", banner)
    if found is None or version not in (found[1], found[0].removeprefix("version ")):
        return None
    return path


class RealMachine(RemoteMachine):
    """A process of the real QEMU, with the face of `qmpd.Machine` as far as QMP goes.

    Each disk is a node of that name, on a new image in a directory that goes when it is closed.

    :param disks: sizes by name, as for `qmpd.Machine`
    :param images: disks on new images, by name: ``"PATH,format=qcow2,size=1G"`` or a mapping, with
        the keys of ``qemu-img create -o``; an image without a size must be there
    :param version: which QEMU, see `find_qemu`
    :raises LookupError: that version is not installed
    :raises qmpd.errors.MachineClosed: QEMU ends at once; with what it said
    """

    def __init__(
        self,
        *,
        disks: Mapping[str, str | int] | None = None,
        images: Mapping[str, Any] | None = None,
        version: str = "10.0",
    ) -> None:
        program = find_qemu(version)
        if program is None:
            raise LookupError(f"QEMU {version} is neither in {INSTALLED}/{version} nor on the PATH")
        self._folder = tempfile.TemporaryDirectory(prefix="qmpd-")
        folder = Path(self._folder.name)
        argv = [program, "-machine", "none", "-nodefaults", "-display", "none"]
        for name, size in (disks or {}).items():
            argv += self._disk(folder, name, {"path": f"{name}.raw", "size": str(size)})
        for name, image in (images or {}).items():
            argv += self._disk(folder, name, _keys(image))
        descriptors: list[int] = []
        with ExitStack() as listeners:
            for monitor in ("qmp", "client"):
                # it listens before QEMU runs, so that nobody has to wait
                listener = listeners.enter_context(socket.socket(socket.AF_UNIX))
                listener.bind(f"{folder}/{monitor}.sock")
                listener.listen()
                # two threads of QEMU's may see that a client is there: the later one must not wait
                listener.setblocking(False)
                descriptors.append(listener.fileno())
                chardev = f"socket,id={monitor},server=on,wait=off,fd={listener.fileno()}"
                argv += ["-chardev", chardev, "-mon", f"{monitor},mode=control"]
            log = listeners.enter_context(open(folder / "stderr", "wb"))
            self.process = subprocess.Popen(
                argv, pass_fds=descriptors, stdin=subprocess.DEVNULL, stderr=log, cwd=folder
            )
        try:
            super().__init__(f"{folder}/qmp.sock")
        except (MachineClosed, OSError) as error:
            said = self._end() or str(error)
            raise MachineClosed(f"QEMU has ended at once: {said}") from None

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Another monitor of the machine, for a client under test: see `qmpd.Machine.serve`.

        :returns: the path of its unix socket
        """
        yield f"{self._folder.name}/client.sock"

    @staticmethod
    def _disk(folder: Path, name: str, keys: dict[str, str]) -> list[str]:
        """Make an image, if it is to be new; returns the options that make a node of it."""
        path = str(folder / keys.pop("path"))
        driver = keys.pop("format", "raw")
        size = keys.pop("size", None)
        read_only = keys.pop("read-only", "off")
        if size is not None:
            options = [word for key, value in keys.items() for word in ("-o", f"{key}={value}")]
            create = ["qemu-img", "create", "-q", "-f", driver, *options, path, size]
            subprocess.run(create, check=True, cwd=folder)
        file = f"file.driver=file,file.filename={path}"
        return ["-blockdev", f"driver={driver},node-name={name},read-only={read_only},{file}"]

    def close(self) -> None:
        """End the process."""
        super().close()
        self._end()

    def _end(self) -> str:
        """End the process, and remove its directory; returns what it said."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        said = Path(self._folder.name, "stderr").read_text(errors="replace").strip()
        self._folder.cleanup()
        return said


def _keys(image: Any) -> dict[str, str]:
    """What is said of an image, by keys."""
    if isinstance(image, str):
        path, *pairs = image.split(",")
        return {"path": path, **dict(pair.split("=", 1) for pair in pairs)}
    words = {True: "on", False: "off"}
    return {
        "read-only" if key == "read_only" else key: words[value]
        if isinstance(value, bool)
        else str(value)
        for key, value in image.items()
    }
