"""libnbd's programs and qemu-img reach exports over TLS: of qmpd as of the real QEMU."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.test_nbd_tls import make_directories, start
from tests.support.nbd_servers import EXPORT, stop
from tests.support.programs import qemu_missing

SIDES = ("real", "ours")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Where each of the two serves, with certificates of its clients."""
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    if shutil.which("nbdinfo") is None:
        pytest.skip("nbdinfo is not installed")
    scratch = tmp_path_factory.mktemp("tls")
    servers = []
    for side in SIDES:
        folder = scratch / side
        folder.mkdir()
        make_directories(folder)
        (folder / "a.raw").write_bytes(b"tls" * 21845 + bytes(1 << 20))
        servers.append(start(folder, side, "x509", ""))
    yield [scratch / side for side in SIDES]
    for server in servers:
        stop(server)


def _run(folder: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.replace(str(folder), "DIR")


def _same(folders: list[Path], *words: str) -> tuple[int, str]:
    """What a program says of both, which is the same."""
    real, ours = (_run(folder, *words) for folder in folders)
    assert ours == real
    return ours


def _uri(certificates: str, scheme: str = "nbds") -> str:
    where = f"{scheme}+unix:///{EXPORT}?socket=s"
    return where if scheme == "nbd" else f"{where}&tls-certificates={certificates}"


def test_libnbd(folders: list[Path]) -> None:
    status, text = _same(folders, "nbdinfo", "--json", _uri("good"))
    assert status == 0
    shown: dict[str, Any] = json.loads(text)
    assert shown["TLS"] is True
    for options in (["--size"], ["--map"], ["--can", "trim"], ["--list"]):
        assert _same(folders, "nbdinfo", *options, _uri("good"))[0] == 0


def test_libnbd_turned_away(folders: list[Path]) -> None:
    for certificates in ("nocert", "stranger"):
        assert _same(folders, "nbdinfo", "--size", _uri(certificates))[0] == 1
    assert _same(folders, "nbdinfo", "--size", _uri("", "nbd"))[0] == 1


def test_nbdcopy(folders: list[Path]) -> None:
    for folder in folders:
        assert _run(folder, "nbdcopy", _uri("good"), "copy.raw")[0] == 0
        # the export goes on to the end of a sector
        assert (folder / "copy.raw").read_bytes() == (folder / "a.raw").read_bytes() + b"\0"
        (folder / "back.raw").write_bytes((folder / "copy.raw").read_bytes()[::-1])
        assert _run(folder, "nbdcopy", "back.raw", _uri("good"))[0] == 0
        assert (folder / "a.raw").read_bytes() == (folder / "back.raw").read_bytes()


@pytest.mark.parametrize("certificates", ["good", "stranger", "nocert"])
def test_qemu_img(folders: list[Path], certificates: str) -> None:
    image = f"driver=nbd,server.type=unix,server.path=s,export={EXPORT},tls-creds=t"
    image += ",tls-hostname=localhost"
    creds = f"tls-creds-x509,id=t,dir={certificates},endpoint=client"
    status, _ = _same(
        folders, "qemu-img", "info", "--object", creds, "--image-opts", image, "--output=json"
    )
    assert status == (0 if certificates == "good" else 1)
    script = ["-c", "write -q -P 7 64k 64k", "-c", "read -q -P 7 64k 64k"]
    _same(folders, "qemu-io", "--object", creds, "--image-opts", image, *script)
