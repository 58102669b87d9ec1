"""NBD servers of every kind, each with one image: what clients are tried on."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Final

from tests.support.programs import qmpd_argv

KINDS: Final = ("qemu-nbd", "qemu-storage-daemon", "qmpd")
"""Whose server it is."""

EXPORT: Final = "exp"
"""What the image is called."""


def serve(
    kind: str,
    folder: Path,
    image: str,
    *,
    image_format: str = "raw",
    read_only: bool = False,
    options: str = "",
) -> subprocess.Popen[bytes]:
    """Serve an image at the unix socket ``s`` of a folder.

    :param kind: one of `KINDS`
    :param options: further options of the export, as the storage daemon has them
    """
    if not read_only:
        options = f",writable=on{options}"
    if kind == "qemu-nbd":
        argv = ["qemu-nbd", "-t", "-e", "8", "-x", EXPORT, "-f", image_format]
        argv += ["-r"] if read_only else ["--discard=unmap"]
        argv += ["-k", str(folder / "s"), image]
    else:
        argv = [
            *("qemu-storage-daemon", "--blockdev", f"file,node-name=f,filename={image}"),
            *("--blockdev", f"{image_format},node-name=n,file=f,discard=unmap"),
            *("--nbd-server", "addr.type=unix,addr.path=s"),
            *("--export", f"nbd,id=e,node-name=n,name={EXPORT}{options}"),
            *("--pidfile", "ready"),
        ]
        if kind == "qmpd":
            argv = qmpd_argv(argv)
    for name in ("s", "ready"):
        (folder / name).unlink(missing_ok=True)
    server = subprocess.Popen(argv, cwd=folder)
    wait_for(folder / ("s" if kind == "qemu-nbd" else "ready"), server)
    return server


def wait_for(path: Path, server: subprocess.Popen[bytes]) -> None:
    """Wait until a server has made a file, which says that it is ready."""
    deadline = time.monotonic() + 20
    while not path.exists():
        assert server.poll() is None, "the server has ended"
        assert time.monotonic() < deadline, "it is not ready"
        time.sleep(0.01)


def stop(server: subprocess.Popen[bytes]) -> None:
    """End a server."""
    server.terminate()
    server.wait(20)
