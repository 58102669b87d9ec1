"""NBD over the wire: whatever a client says, qmpd's server answers with QEMU's bytes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.differential.nbd_sessions import SIZE, Client, Session, sessions
from tests.support.nbd_servers import stop, wait_for
from tests.support.programs import qemu_missing, qmpd_argv

EXAMPLES = int(os.environ.get("QMPD_NBD_SESSIONS", "100"))

SIDES = ("real", "ours")


def _start(side: str, folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir()
    # which parts of a file are holes is for the host's cache to say: images have tables
    for name in ("image", "bits"):
        make = ["qemu-img", "create", "-q", "-f", "qcow2", name, str(SIZE)]
        subprocess.run(make, cwd=folder, check=True)
    subprocess.run(["qemu-img", "bitmap", "--add", "bits", "b"], cwd=folder, check=True)
    write = ["qemu-io", "-f", "qcow2", "-c", "write -P 3 128k 64k", "bits"]
    subprocess.run(write, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["qemu-img", "bitmap", "--disable", "bits", "b"], cwd=folder, check=True)
    argv = [
        *("qemu-storage-daemon", "--blockdev", "file,node-name=h,filename=image"),
        *("--blockdev", "qcow2,node-name=f,file=h,discard=unmap"),
        *("--blockdev", "file,node-name=g,filename=bits", "--blockdev", "qcow2,node-name=q,file=g"),
        *("--nbd-server", "addr.type=unix,addr.path=s,handshake-max-seconds=0"),
        *("--export", "nbd,id=e,node-name=f,name=exp,writable=on,allocation-depth=on"),
        *("--export", "nbd,id=r,node-name=q,name=ro,description=about,bitmaps.0=b"),
        *("--pidfile", "ready"),
    ]
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        argv if side == "real" else qmpd_argv(argv), cwd=folder, stdout=log, stderr=log
    )
    wait_for(folder / "ready", server)
    return server


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    scratch = tmp_path_factory.mktemp("nbd")
    running = [_start(side, scratch / side) for side in SIDES]
    yield scratch
    for server in running:
        assert server.poll() is None
        stop(server)
    images = [str(scratch / side / "image") for side in SIDES]
    subprocess.run(["qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", *images], check=True)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
@given(session=sessions())
def test_the_same_bytes(servers: Path, session: Session) -> None:
    real, ours = (Client(str(servers / side / "s")).play(session) for side in SIDES)
    assert ours == real
