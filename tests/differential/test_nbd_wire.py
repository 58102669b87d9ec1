"""NBD over the wire: whatever a client says, qmpd's server answers with QEMU's bytes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings

from tests.differential.nbd_sessions import SIZE, Client, Session, sessions
from tests.support.nbd_servers import stop, wait_for
from tests.support.versions import both_argv, examples, on_each_version

SIDES = ("real", "ours")


WITHOUT_LIMIT = ("5.2", "7.2")
"""Versions that do not limit the time of handshakes."""


def _start(side: str, folder: Path, version: str) -> subprocess.Popen[bytes]:
    folder.mkdir()
    # which parts of a file are holes is for the host's cache to say: images have tables
    for name in ("image", "bits"):
        make = ["qemu-img", "create", "-q", "-f", "qcow2", name, str(SIZE)]
        subprocess.run(make, cwd=folder, check=True)
    subprocess.run(["qemu-img", "bitmap", "--add", "bits", "b"], cwd=folder, check=True)
    write = ["qemu-io", "-f", "qcow2", "-c", "write -P 3 128k 64k", "bits"]
    subprocess.run(write, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["qemu-img", "bitmap", "--disable", "bits", "b"], cwd=folder, check=True)
    limit = "" if version in WITHOUT_LIMIT else ",handshake-max-seconds=0"
    argv = [
        *("qemu-storage-daemon", "--blockdev", "file,node-name=h,filename=image"),
        *("--blockdev", "qcow2,node-name=f,file=h,discard=unmap"),
        *("--blockdev", "file,node-name=g,filename=bits", "--blockdev", "qcow2,node-name=q,file=g"),
        *("--nbd-server", f"addr.type=unix,addr.path=s{limit}"),
        *("--export", "nbd,id=e,node-name=f,name=exp,writable=on,allocation-depth=on"),
        *("--export", "nbd,id=r,node-name=q,name=ro,description=about,bitmaps.0=b"),
        # 5.2 has no pidfile; this comes last
        *("--chardev", "socket,id=c,path=ready,server=on,wait=off"),
    ]
    real, ours = both_argv(version, argv)
    log = (folder / "log").open("wb")
    server = subprocess.Popen(real if side == "real" else ours, cwd=folder, stdout=log, stderr=log)
    wait_for(folder / "ready", server)
    return server


class Servers(NamedTuple):
    """Both servers, each in a folder of its own below `scratch`."""

    version: str
    scratch: Path


@pytest.fixture(scope="module")
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    version = request.param
    scratch = tmp_path_factory.mktemp("nbd")
    running = [_start(side, scratch / side, version) for side in SIDES]
    yield Servers(version, scratch)
    for server in running:
        assert server.poll() is None
    # by the servers, for that of 5.2 ends without writing all that it keeps
    images = [f"nbd+unix:///exp?socket={scratch / side / 's'}" for side in SIDES]
    subprocess.run(["qemu-img", "compare", *images], check=True)
    for server in running:
        stop(server)


@on_each_version
def test_the_same_bytes(pair: Servers) -> None:
    count = examples(pair.version, 100, "QMPD_NBD_SESSIONS")

    @settings(max_examples=count, suppress_health_check=list(HealthCheck), database=None)
    @given(session=sessions())
    def same_bytes(session: Session) -> None:
        real, ours = (Client(str(pair.scratch / side / "s")).play(session) for side in SIDES)
        assert ours == real

    same_bytes()
