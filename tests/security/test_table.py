"""The table of docs/security.md, measured: who may do what to the host, cell by cell.

What is measured is `qmpd serve`, by a client that may say whatever it likes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest

import qmpd
from qmpd.testing import RemoteMachine, Server
from tests.security.test_modes import said

PAGE: Final = Path(__file__).parents[2] / "docs" / "security.md"

SECRET: Final = b"secret" * 200

COLUMNS: Final = MappingProxyType(
    {
        "`memory`": ("--storage", "memory"),
        "`overlay`": ("--storage", "overlay", "--allow-read", "ALLOWED"),
        "`host`": ("--storage", "host"),
        "`host`, limited": (
            *("--storage", "host", "--allow", "ALLOWED", "--allow-read", "ALLOWED"),
            *("--allow-sockets", "ALLOWED"),
        ),
    }
)
"""The options of each column; ALLOWED is a directory."""


class Place:
    """Directories of the host, and a client of a daemon.

    :param folder: has a directory that may be allowed, and one that is not
    :param options: the daemon's
    """

    def __init__(self, folder: Path, vm: RemoteMachine, options: list[str]) -> None:
        self.vm = vm
        self.options = dict(zip(options[::2], options[1::2], strict=True))
        self.inside, self.outside = folder / "allowed", folder / "outside"

    def reads(self, path: Path) -> bool:
        options = {"driver": "file", "node-name": "n", "filename": str(path), "read-only": True}
        if said(self.vm, "blockdev-add", options) != "ok":
            return False
        self.vm.cmd("blockdev-del", {"node-name": "n"})
        return True

    def listens(self, path: Path) -> str:
        where = {"type": "unix", "data": {"path": str(path)}}
        answer = said(self.vm, "nbd-server-start", addr=where)
        if answer == "ok":
            self.vm.cmd("nbd-server-stop")
        return answer


def _where(place: Place, may: Callable[[Path], bool]) -> str:
    """Where something may be done: ``yes``, ``no``, or only where it is ``allowed``."""
    inside, outside = may(place.inside), may(place.outside)
    return "yes" if outside else "where allowed" if inside else "no"


def read_an_image(place: Place) -> str:
    return _where(place, lambda folder: place.reads(folder / "secret"))


def read_an_image_by_proc(place: Place) -> str:
    def may(folder: Path) -> bool:
        return place.reads(Path(f"/proc/self/root{folder}/secret"))

    return _where(place, may)


def read_by_qemu_io(place: Place) -> str:
    """On a machine of this process, whose disks can be read."""
    options = place.options
    names = {"--allow": "allow_write", "--allow-read": "allow_read"}
    arguments: dict[str, Any] = {
        name: [options[option]] for option, name in names.items() if option in options
    }

    def may(folder: Path) -> bool:
        storage: Any = options["--storage"]
        with qmpd.Machine(disks={"d": "1M"}, storage=storage, **arguments) as vm:
            vm.hmp(f'qemu-io d "write -s {folder}/secret 0 512"')
            return vm.disk("d").read(0, 6) == SECRET[:6]

    return _where(place, may)


def read_a_secret(place: Place) -> str:
    def may(folder: Path) -> bool:
        options = {"qom-type": "secret", "id": "s", "file": f"{folder}/secret"}
        if said(place.vm, "object-add", options) != "ok":
            return False
        place.vm.cmd("object-del", id="s")
        return True

    return _where(place, may)


def write_an_image(place: Place) -> str:
    def may(folder: Path) -> bool:
        path = folder / "secret"
        options = {"driver": "file", "node-name": "n", "filename": str(path)}
        if said(place.vm, "blockdev-add", options) != "ok":
            return False
        place.vm.hmp('qemu-io n "write -P 7 512 512"')
        place.vm.cmd("blockdev-del", {"node-name": "n"})
        written = path.read_bytes() != SECRET
        path.write_bytes(SECRET)
        return written

    return _where(place, may)


def make_a_file(place: Place) -> str:
    def may(folder: Path) -> bool:
        options = {"driver": "file", "filename": f"{folder}/new", "size": 512}
        place.vm.cmd("blockdev-create", {"job-id": "c", "options": options})
        concluded = {"data": {"id": "c", "status": "concluded"}}
        place.vm.event_wait("JOB_STATUS_CHANGE", match=concluded)
        place.vm.cmd("job-dismiss", id="c")
        return (folder / "new").exists()

    return _where(place, may)


def make_a_log(place: Place) -> str:
    def may(folder: Path) -> bool:
        data = {"type": "file", "data": {"out": f"{folder}/log"}}
        said(place.vm, "chardev-add", id="c", backend=data)
        said(place.vm, "chardev-remove", id="c")
        return (folder / "log").exists()

    return _where(place, may)


def replace_a_file_by_a_socket(place: Place) -> str:
    def may(folder: Path) -> bool:
        place.listens(folder / "secret")
        return not (folder / "secret").is_file()

    return _where(place, may)


def listen_at_a_new_socket(place: Place) -> str:
    return _where(place, lambda folder: place.listens(folder / "sock") == "ok")


def learn_of_a_file(place: Place) -> str:
    """By other answers for a file that is there than for one that is not."""

    def may(folder: Path) -> bool:
        told = []
        for name in ("secret", "nothin"):
            path = f"{folder}/{name}"
            server = {"type": "unix", "path": path}
            requests: list[tuple[str, dict[str, Any]]] = [
                ("blockdev-add", {"driver": "file", "node-name": "n", "filename": path}),
                ("blockdev-add", {"driver": "nbd", "node-name": "n", "server": server}),
                ("object-add", {"qom-type": "secret", "id": "s", "file": path}),
            ]
            answers = [said(place.vm, command, arguments) for command, arguments in requests]
            said(place.vm, "blockdev-del", {"node-name": "n"})
            said(place.vm, "object-del", id="s")
            told.append(str(answers).replace(name, ""))
        return told[0] != told[1]

    return _where(place, may)


def listen_at_any_address(place: Place) -> str:
    where = {"type": "inet", "data": {"host": "0.0.0.0", "port": "0"}}
    if said(place.vm, "nbd-server-start", addr=where) != "ok":
        return "no"
    place.vm.cmd("nbd-server-stop")
    return "yes"


def connect_to_any_address(place: Place) -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        data = {"host": "127.0.0.1", "port": port}
        backend = {"addr": {"type": "inet", "data": data}, "server": False}
        answer = said(place.vm, "chardev-add", id="n", backend={"type": "socket", "data": backend})
    return "yes" if answer == "ok" else "no"


def run_a_program(place: Place) -> str:
    answer = said(place.vm, "migrate", uri="exec:true")
    return "no" if "programs are not run" in answer else "yes"


def stop_the_process(place: Place) -> str:
    return "yes" if said(place.vm, "quit") == "ok" else "no"


ROWS: Final[MappingProxyType[str, Callable[[Place], str]]] = MappingProxyType(
    {
        "read a file as an image, by whatever name": read_an_image,
        "the same by `/proc/self/root`, `/proc/self/fd`": read_an_image_by_proc,
        "read a file by `qemu-io write -s`": read_by_qemu_io,
        "read a file as a secret": read_a_secret,
        "write an image": write_an_image,
        "make a file: `blockdev-create`, snapshots, copies": make_a_file,
        "make a file: character devices, logs, migration": make_a_log,
        "put a socket in the place of a file": replace_a_file_by_a_socket,
        "make a new socket": listen_at_a_new_socket,
        "learn which files there are": learn_of_a_file,
        "listen at any address, without authentication": listen_at_any_address,
        "connect to any address": connect_to_any_address,
        "run a program (`migrate exec:`)": run_a_program,
        "end the process (`quit`)": stop_the_process,
    }
)
"""What is measured, by the words of the page."""


def _page() -> list[list[str]]:
    """The table of the page."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| by a client |"))
    table = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return [table[0], *table[2:]]


def test_the_page_has_the_rows_and_columns() -> None:
    head, *rows = _page()
    assert head[1:-1] == list(COLUMNS)
    assert [row[0] for row in rows if row[0] in ROWS] == list(ROWS)
    assert [row[0] for row in rows if row[0] not in ROWS] == ["take all memory, all processor time"]


@pytest.mark.parametrize("column", COLUMNS)
def test_the_table(tmp_path: Path, column: str) -> None:
    for name in ("allowed", "outside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_bytes(SECRET)
    options = [str(tmp_path / "allowed") if word == "ALLOWED" else word for word in COLUMNS[column]]
    head, *rows = _page()
    number = head.index(column)
    told = {row[0]: row[number] for row in rows}
    with Server("--disk", "disk=1M", *options) as server, RemoteMachine(server.path) as vm:
        place = Place(tmp_path, vm, options)
        measured = {name: measure(place) for name, measure in ROWS.items()}
    assert measured == {name: told[name] for name in ROWS}
    assert (tmp_path / "outside" / "secret").read_bytes() == SECRET
