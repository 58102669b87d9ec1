"""NBD over TLS: qmpd and the real QEMU as clients of both, with the same certificates."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.pair import SIDES, Drivers
from tests.support.nbd_servers import EXPORT, stop, wait_for
from tests.support.programs import qmpd_argv

PEM = Path(__file__).parents[1] / "support" / "tls"
"""Certificates for a hundred years; nobody has the key of their authority any more."""

NAME = r"C=DE,O=qmpd\, tests,CN=good"
"""Who the good client is, as GnuTLS writes it."""


def make_directories(folder: Path) -> None:
    """The directories of credentials of one side."""
    contents = {
        "good": ("ca", "server", "client"),
        "other": ("ca", "server", "other"),
        "nocert": ("ca",),
        "stranger": ("stranger",),
        "mismatch": ("stranger", "server", "client"),
        "ca-as-server": ("ca", "ca", "client"),
    }
    for name, (authority, *both) in contents.items():
        place = folder / name
        place.mkdir(exist_ok=True)
        shutil.copy(PEM / f"{authority}-cert.pem", place / "ca-cert.pem")
        for role, source in zip(("server", "client"), both, strict=False):
            for kind in ("cert", "key"):
                key = PEM / f"{source}-{kind}.pem"
                if not key.exists():
                    key = PEM / f"server-{kind}.pem"
                shutil.copy(key, place / f"{role}-{kind}.pem")


def start(folder: Path, whose: str, creds: str, authz: str) -> subprocess.Popen[bytes]:
    """A storage daemon that wants TLS, at the socket ``s`` of a folder."""
    for name in ("s", "ready"):
        (folder / name).unlink(missing_ok=True)
    argv = [
        *("qemu-storage-daemon", "--blockdev", "file,node-name=f,filename=a.raw"),
        *("--object", "tls-creds-x509,id=x509,dir=good,endpoint=server"),
        *("--object", "tls-creds-anon,id=anon,endpoint=server"),
        *("--object", f"authz-simple,id=simple,identity={NAME.replace(',', ',,')}"),
        *(
            "--object",
            "authz-list,id=list,rules.0.match=*CN=good,rules.0.policy=allow,rules.0.format=glob",
        ),
        *("--nbd-server", f"addr.type=unix,addr.path=s,tls-creds={creds}{authz}"),
        *("--export", f"nbd,id=e,node-name=f,name={EXPORT},writable=on", "--pidfile", "ready"),
    ]
    log = (folder / "log").open("wb")
    argv = qmpd_argv(argv) if whose == "ours" else argv
    server = subprocess.Popen(argv, cwd=folder, stderr=log)
    wait_for(folder / "ready", server)
    return server


@pytest.fixture(scope="module", autouse=True)
def directories(programs: Drivers) -> None:
    for side in SIDES:
        make_directories(programs.scratch / side)


@pytest.fixture(params=["own servers", "each other's servers"])
def crossed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param != "own servers")


@pytest.fixture
def tls(pair: Drivers) -> Iterator[Drivers]:
    """The credentials of clients, on both sides."""
    for name in ("good", "other", "nocert", "stranger"):
        pair.execute("object-add", **{"qom-type": "tls-creds-x509", "id": name, "dir": name})
    lax = {"qom-type": "tls-creds-x509", "id": "lax", "dir": "stranger", "verify-peer": False}
    pair.execute("object-add", **lax)
    server = {"qom-type": "tls-creds-x509", "id": "server", "dir": "good", "endpoint": "server"}
    pair.execute("object-add", **server)
    pair.execute("object-add", **{"qom-type": "tls-creds-anon", "id": "anon"})
    yield pair
    pair.clear()
    for name in ("good", "other", "nocert", "stranger", "lax", "server", "anon"):
        pair.execute("object-del", id=name)


def _outcome(answer: dict[str, Any]) -> str:
    """What has come of an attempt: how a server hangs up is seen in one way or the other."""
    if "return" in answer:
        return "added"
    text: str = answer["error"]["desc"]
    if text.startswith("TLS handshake failed: "):
        return "handshake failed"
    is_away = text.startswith(("Failed to read option reply: ", "Failed to send option "))
    return "turned away" if is_away else text


def try_all(pair: Drivers, attempts: list[dict[str, str]]) -> None:
    for attempt in attempts:
        unix = {"type": "unix", "path": "s"}
        options = {"driver": "nbd", "node-name": "n", "server": unix, "export": EXPORT, **attempt}
        request = {"execute": "blockdev-add", "arguments": options}
        expected, got = (
            _outcome(program.execute(request)[-1]) for program in (pair.real, pair.ours)
        )
        assert (attempt, got) == (attempt, expected)
        if got == "added":
            pair.io("n", "write -P 5 0 1M", "read -P 5 4k 64k", "map")
            pair.delete("n")


def play(
    pair: Drivers, creds: str, authz: str, attempts: list[dict[str, str]], *, crossed: bool
) -> None:
    whose = {"real": "ours", "ours": "real"} if crossed else {side: side for side in SIDES}
    servers = [start(pair.scratch / side, whose[side], creds, authz) for side in SIDES]
    try:
        try_all(pair, attempts)
    finally:
        for server in servers:
            stop(server)


HOST = {"tls-hostname": "localhost"}


def test_certificates(tls: Drivers, crossed: bool) -> None:
    attempts: list[dict[str, str]] = [
        *({"tls-creds": name, **HOST} for name in ("good", "other", "nocert", "stranger", "lax")),
        {"tls-creds": "good", "tls-hostname": "example.org"},
        {"tls-creds": "good", "tls-hostname": ""},
        *({"tls-creds": name} for name in ("good", "server", "anon", "nope")),
        {},
    ]
    play(tls, "x509", "", attempts, crossed=crossed)


@pytest.mark.parametrize("authz", ["simple", "list", "nope"])
def test_who_may_come(tls: Drivers, authz: str) -> None:
    attempts = [{"tls-creds": name, **HOST} for name in ("good", "other")]
    play(tls, "x509", f",tls-authz={authz}", attempts, crossed=authz == "simple")


def test_anonymous(tls: Drivers, crossed: bool) -> None:
    play(tls, "anon", "", [{"tls-creds": "anon"}, {"tls-creds": "good", **HOST}], crossed=crossed)


@pytest.mark.parametrize("endpoint", ["server", "client"])
@pytest.mark.parametrize(
    "options",
    [
        *({"dir": name} for name in ("nope", "nocert", "mismatch", "stranger", "ca-as-server")),
        {"dir": "mismatch", "sanity-check": False, "verify-peer": False},
        {"dir": "good", "passwordid": "x"},
        {},
    ],
)
def test_objects(pair: Drivers, options: dict[str, Any], endpoint: str) -> None:
    made = {"qom-type": "tls-creds-x509", "id": "x", "endpoint": endpoint, **options}
    pair.execute("object-add", **made)
    for name in ("dir", "endpoint", "verify-peer", "sanity-check", "passwordid"):
        pair.execute("qom-get", path="/objects/x", property=name)
    pair.execute("qom-list", path="/objects/x")
    pair.execute("object-del", id="x")


def test_objects_that_say_who_may_come(pair: Drivers) -> None:
    add = {"qom-type": "authz-list", "id": "l"}
    pair.execute("object-add", **add, policy="allow", rules=[{"match": "x", "policy": "deny"}])
    pair.execute("object-add", **{"qom-type": "authz-simple", "id": "s", "identity": "x"})
    for name, properties in (("l", ("policy", "rules")), ("s", ("identity",))):
        for each in (*properties, "bogus"):
            pair.execute("qom-get", path=f"/objects/{name}", property=each)
        pair.execute("qom-list", path=f"/objects/{name}")
        pair.execute("object-del", id=name)
    addr = {"type": "unix", "data": {"path": "t"}}
    pair.execute("nbd-server-start", addr=addr, **{"tls-creds": "nope"})
