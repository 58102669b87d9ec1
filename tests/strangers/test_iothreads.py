"""Which node is in which iothread: who holds a node, and who asks for it then.

N in the list of QEMU's own tests: 202, 223, 245, 307.  Where a node is cannot be asked; it shows in
who may have it: each cell of the table ends with exports that insist on one iothread.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.differential.pair import OPTIONS
from tests.support.normal import normal
from tests.support.programs import qemu_missing, qmpd_argv
from tests.support.stdio import StdioProgram

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

Request = tuple[str, dict[str, Any]]
Say = Callable[[str], list[Request]]
"""Requests about the node of this name."""

SYSTEM: Final = ("-machine", "pc", "-S")
DAEMON: Final = ("--chardev", "stdio,id=s", "--monitor", "s")


def object_add(name: str) -> Request:
    return "object-add", {"qom-type": "iothread", "id": name}


def null(name: str) -> Request:
    return "blockdev-add", {"driver": "null-co", "node-name": name, "size": 1 << 30}


def over(name: str, below: str) -> Request:
    return "blockdev-add", {"driver": "raw", "node-name": name, "file": below}


def move(name: str, thread: str | None, **more: Any) -> Request:
    return "x-blockdev-set-iothread", {"node-name": name, "iothread": thread, **more}


def export(node: str, name: str, **more: Any) -> Request:
    more = {key.replace("_", "-"): value for key, value in more.items()}
    ids = {"id": f"{name}{node}", "name": f"{name}{node}"}
    return "block-export-add", {"type": "nbd", "node-name": node, **ids, **more}


def overlay(node: str, above: str = "o", **more: Any) -> Request:
    image = {"driver": "file", "filename": f"{above}{node}"}
    return "blockdev-add", {"driver": "qcow2", "node-name": above + node, "file": image, **more}


def quorum(node: str) -> list[Request]:
    children = [f"c{node}", f"d{node}"]
    options = {"driver": "quorum", "node-name": f"q{node}", "vote-threshold": 1}
    return [*map(null, children), ("blockdev-add", {**options, "children": children})]


def cd(node: str, bus: str) -> list[Request]:
    name = f"cd{bus[:2]}{node}"
    return [
        ("device_add", {"driver": "scsi-cd", "bus": bus, "id": name}),
        ("blockdev-open-tray", {"id": name}),
        ("blockdev-insert-medium", {"id": name, "node-name": node}),
        export(node, "x", iothread="b", fixed_iothread=True),
        ("blockdev-remove-medium", {"id": name}),
        ("blockdev-insert-medium", {"id": name, "node-name": f"x{node}"}),
        null(f"x{node}"),
        ("blockdev-insert-medium", {"id": name, "node-name": f"x{node}"}),
        export(f"x{node}", "y", fixed_iothread=True, iothread="a"),
    ]


def disk(node: str, bus: str, driver: str = "scsi-hd") -> Request:
    return "device_add", {
        "driver": driver,
        "bus": bus,
        "id": f"{driver}{bus[:2]}{node}",
        "drive": node,
        "share-rw": True,
    }


def virtio(node: str, **more: Any) -> Request:
    device = {"driver": "virtio-blk-pci", "id": f"v{node}", "drive": node, "share-rw": True}
    return "device_add", device | more


def job(kind: str, node: str, **more: Any) -> Request:
    return kind, {"job-id": f"{kind}{node}", "speed": 1, "auto-finalize": False, **more}


def keep(node: str, **more: Any) -> Request:
    """An export of the node that has it stay where it is.

    A backup needs that: QEMU 10.0 takes a source that may move to the main loop, and aborts.
    """
    return export(node, "k", fixed_iothread=True, **more)


HOLDERS: Final[dict[str, Say]] = {
    "nobody": lambda n: [null(n)],
    "nobody, in a": lambda n: [null(n), move(n, "a")],
    "a node": lambda n: [null(n), over(f"up{n}", n)],
    "a node, in a": lambda n: [null(n), over(f"up{n}", n), move(f"up{n}", "a")],
    "an export": lambda n: [null(n), export(n, "h")],
    "an export in a": lambda n: [null(n), export(n, "h", iothread="a")],
    "an export that stays": lambda n: [null(n), export(n, "h", fixed_iothread=True)],
    "an export that stays in a": lambda n: [
        null(n),
        export(n, "h", iothread="a", fixed_iothread=True),
    ],
    "nbd-server-add": lambda n: [null(n), ("nbd-server-add", {"device": n})],
    "an export of the node above": lambda n: [
        null(n),
        over(f"up{n}", n),
        export(f"up{n}", "h", iothread="a", fixed_iothread=True),
    ],
    "the source of a backup": lambda n: [
        null(n),
        null(f"t{n}"),
        keep(n, iothread="a"),
        job("blockdev-backup", n, device=n, target=f"t{n}", sync="full"),
    ],
    "the target of a backup": lambda n: [
        null(n),
        null(f"t{n}"),
        keep(f"t{n}", iothread="a"),
        job("blockdev-backup", n, device=f"t{n}", target=n, sync="full"),
    ],
    "the source of a mirror": lambda n: [
        null(n),
        null(f"t{n}"),
        move(n, "a"),
        job("blockdev-mirror", n, device=n, target=f"t{n}", sync="full"),
    ],
    "the target of a mirror": lambda n: [
        null(n),
        null(f"t{n}"),
        move(f"t{n}", "a"),
        job("blockdev-mirror", n, device=f"t{n}", target=n, sync="full"),
    ],
}
"""Who holds the node, in both programs; the buses and iothreads are there."""

DEVICES: Final[dict[str, Say]] = {
    "a disk": lambda n: [null(n), disk(n, "s0.0")],
    "a disk in a": lambda n: [null(n), disk(n, "sa.0")],
    "a disk in b, of a node in a": lambda n: [null(n), move(n, "a"), disk(n, "sb.0")],
    "a disk that has gone": lambda n: [
        null(n),
        disk(n, "sa.0"),
        ("device_del", {"id": f"scsi-hdsa{n}"}),
    ],
    "disks in a and in b": lambda n: [null(n), disk(n, "sa.0"), disk(n, "sb.0")],
    "a virtio disk": lambda n: [null(n), virtio(n)],
    "a virtio disk with an iothread": lambda n: [null(n), virtio(n, iothread="a")],
    "a USB disk": lambda n: [null(n), disk(n, "u0.0", "usb-storage")],
}
"""Who holds the node in a machine besides."""

ASKERS: Final[dict[str, Say]] = {
    "to a": lambda n: [move(n, "a")],
    "to b": lambda n: [move(n, "b")],
    "to the main loop": lambda n: [move(n, None)],
    "to a with force": lambda n: [move(n, "a", force=True)],
    "to b with force": lambda n: [move(n, "b", force=True)],
    "to the main loop with force": lambda n: [move(n, None, force=True)],
    "to b and back": lambda n: [move(n, "b", force=True), move(n, None, force=True)],
    "a node above": lambda n: [over(f"new{n}", n), ("blockdev-del", {"node-name": f"new{n}"})],
    "a node above that stays": lambda n: [over(f"new{n}", n)],
    "an export": lambda n: [export(n, "x")],
    "an export in b": lambda n: [export(n, "x", iothread="b")],
    "an export that stays in b": lambda n: [export(n, "x", iothread="b", fixed_iothread=True)],
    "an export of a strange iothread": lambda n: [export(n, "x", iothread="c")],
    "nbd-server-add": lambda n: [("nbd-server-add", {"device": n, "name": f"x{n}"})],
    "a backup of it": lambda n: [
        null(f"u{n}"),
        move(f"u{n}", "b"),
        export(n, "x", fixed_iothread=True),
        job("blockdev-backup", f"2{n}", device=n, target=f"u{n}", sync="full"),
    ],
    "a backup of it to what stays in b": lambda n: [
        null(f"u{n}"),
        keep(f"u{n}", iothread="b"),
        export(n, "x", fixed_iothread=True),
        job("blockdev-backup", f"2{n}", device=n, target=f"u{n}", sync="full"),
    ],
    "a backup to it": lambda n: [
        null(f"u{n}"),
        keep(f"u{n}", iothread="b"),
        job("blockdev-backup", f"2{n}", device=f"u{n}", target=n, sync="full"),
    ],
    "a mirror of it to what stays in b": lambda n: [
        null(f"u{n}"),
        keep(f"u{n}", iothread="b"),
        job("blockdev-mirror", f"2{n}", device=n, target=f"u{n}", sync="full"),
    ],
    "a mirror to it": lambda n: [
        null(f"u{n}"),
        move(f"u{n}", "b"),
        job("blockdev-mirror", f"2{n}", device=f"u{n}", target=n, sync="full"),
    ],
    "an overlay": lambda n: [overlay(n, backing=n)],
    "an overlay in b": lambda n: [
        overlay(n, backing=None),
        move(f"o{n}", "b"),
        ("blockdev-reopen", {"options": [overlay(n, backing=n)[1]]}),
    ],
    "an overlay that stays in b": lambda n: [
        overlay(n, backing=None),
        keep(f"o{n}", iothread="b"),
        ("blockdev-reopen", {"options": [overlay(n, backing=n)[1]]}),
        ("blockdev-reopen", {"options": [overlay(n, backing=None)[1]]}),
    ],
    "a snapshot": lambda n: [
        overlay(n, backing=None),
        ("blockdev-snapshot", {"node": n, "overlay": f"o{n}"}),
    ],
    "a snapshot into b": lambda n: [
        overlay(n, backing=None),
        move(f"o{n}", "b"),
        ("blockdev-snapshot", {"node": n, "overlay": f"o{n}"}),
    ],
    "a snapshot that is undone": lambda n: [
        overlay(n, backing=None),
        (
            "transaction",
            {
                "actions": [
                    {"type": "blockdev-snapshot", "data": {"node": n, "overlay": f"o{n}"}},
                    {"type": "abort", "data": {}},
                ]
            },
        ),
    ],
    "a quorum": lambda n: [
        *quorum(n),
        ("x-blockdev-change", {"parent": f"q{n}", "node": n}),
        ("x-blockdev-change", {"parent": f"q{n}", "child": "children.2"}),
    ],
    "a quorum that stays in b": lambda n: [
        *quorum(n),
        keep(f"q{n}", iothread="b"),
        ("x-blockdev-change", {"parent": f"q{n}", "node": n}),
    ],
    "a stream": lambda n: [overlay(n, backing=n), job("block-stream", n, device=f"o{n}")],
    "a commit": lambda n: [
        overlay(n, backing=n),
        overlay(n, "p", backing=f"o{n}"),
        job("block-commit", n, device=f"p{n}", **{"top-node": f"o{n}", "base-node": n}),
    ],
    "a commit of the active layer": lambda n: [
        overlay(n, backing=n),
        job("block-commit", n, device=f"o{n}"),
    ],
}
"""Who asks for the node, in both programs."""

PLUGGERS: Final[dict[str, Say]] = {
    "a disk": lambda n: [disk(n, "s1.0")],
    "a disk in b": lambda n: [disk(n, "sb.0", "scsi-hd"), ("device_del", {"id": f"scsi-hdsb{n}"})],
    "a disk in b that stays": lambda n: [disk(n, "sb.0")],
    "a CD of it in b": lambda n: [disk(n, "sb.0", "scsi-cd")],
    "a USB disk": lambda n: [disk(n, "u0.0", "usb-storage")],
    "a CD drive": lambda n: cd(n, "s0.0"),
    "a CD drive in b": lambda n: cd(n, "sb.0"),
    "a virtio disk": lambda n: [virtio(n, id=f"w{n}")],
    "a virtio disk with an iothread": lambda n: [virtio(n, id=f"w{n}", iothread="b")],
}
"""Who asks for the node in a machine besides."""


HANGS: Final = {
    ("the source of a backup", "a snapshot"),
    ("the source of a backup", "a snapshot into b"),
    ("the source of a backup", "a snapshot that is undone"),
}
"""Cells in which QEMU 10.0 may never answer: it waits for a job while it changes the graph.

It does so in one run of twenty or more; gdb shows it in bdrv_graph_wrlock.
"""


def probes(node: str) -> list[Request]:
    """Where is it, and who minds?"""
    stays = {"fixed_iothread": True}
    return [
        export(node, "p1", iothread="a", **stays),
        export(node, "p2", iothread="b", **stays),
        export(node, "p3", **stays),
    ]


class Both:
    """Both programs; each request goes to both, and the answers must be the same."""

    def __init__(self, scratch: Path, program: str, *options: str) -> None:
        self.said: list[str] = []
        system = program.startswith("qemu-system")
        argv = [program, *((*OPTIONS, *SYSTEM)[2:] if system else DAEMON), *options]
        self._programs = []
        make = ["qemu-img", "create", "-q", "-f", "qcow2", "image", "1G"]
        subprocess.run(make, cwd=scratch, check=True)
        image = (scratch / "image").read_bytes()
        for side, told in (("real", argv), ("ours", qmpd_argv(argv))):
            folder = scratch / side
            folder.mkdir()
            for name in (f"{above}n{i}" for above in "op" for i in range(len(ASKERS))):
                (folder / name).write_bytes(image)
            started = StdioProgram(told, folder)
            started.message()
            started.execute({"execute": "qmp_capabilities"})
            self._programs.append(started)

    def execute(self, request: Request) -> None:
        """Do one request; events come when they like and are left out."""
        command, arguments = request
        message = {"execute": command, "arguments": arguments}
        self.said.append(json.dumps(message))
        answers = []
        for program in self._programs:
            answered = program.execute(message)
            answers.append(normal(answered[-1]))
            if command == "device_del" and "return" in answered[-1]:
                while not any(said.get("event") == "DEVICE_DELETED" for said in answered):
                    answered.append(program.message())
        assert (answers[1], self.said) == (answers[0], self.said)

    def close(self) -> None:
        """End ours as it should be ended; the real one often waits for its jobs for ever."""
        real, ours = self._programs
        ours.close()
        real.process.kill()
        real.process.wait()


def walk(both: Both, row: str, askers: dict[str, Say]) -> None:
    """All cells of a row of the table, each with a node of its own."""
    hold = (HOLDERS | DEVICES)[row]
    for number, (column, ask) in enumerate(askers.items()):
        if (row, column) in HANGS:
            continue
        node = f"n{number}"
        both.said = [row, column]
        for request in (*hold(node), *ask(node), *probes(node)):
            both.execute(request)


def prepare(both: Both, *, machine: bool) -> None:
    both.execute(object_add("a"))
    both.execute(object_add("b"))
    both.execute(("nbd-server-start", {"addr": {"type": "unix", "data": {"path": "s"}}}))
    if machine:
        for name, thread in (("s0", {}), ("sa", {"iothread": "a"}), ("sb", {"iothread": "b"})):
            both.execute(("device_add", {"driver": "virtio-scsi-pci", "id": name, **thread}))
        ports = {"p2": 15, "p3": 15}
        both.execute(("device_add", {"driver": "qemu-xhci", "id": "u0", **ports}))


def rows(first: int) -> list[Any]:
    """The rows of `HOLDERS`, every other one of them, from the `first`, in the long run only."""
    return [
        pytest.param(row, marks=pytest.mark.long if number % 2 == first else ())
        for number, row in enumerate(HOLDERS)
    ]


@pytest.mark.parametrize("row", [*rows(0), *DEVICES])
def test_who_holds_and_who_asks_in_a_machine(tmp_path: Path, row: str) -> None:
    both = Both(tmp_path, "qemu-system-x86_64")
    prepare(both, machine=True)
    walk(both, row, PLUGGERS if row in HOLDERS else ASKERS | PLUGGERS)
    both.close()


@pytest.mark.parametrize("row", rows(1))
def test_who_holds_and_who_asks_in_the_storage_daemon(tmp_path: Path, row: str) -> None:
    both = Both(tmp_path, "qemu-storage-daemon")
    prepare(both, machine=False)
    walk(both, row, ASKERS)
    both.close()


MAPPINGS: Final[list[Any]] = [
    *([{"iothread": 1}], [{}], [{"iothread": "b", "x": 1}], {"iothread": "b"}, "b", 1, ["b"], [[]]),
    *(None, [None], [{"iothread": None}], [{"iothread": "c"}], [{"iothread": "/objects/b"}], []),
    *([{"iothread": "b", "vqs": queues}] for queues in (0, None, [-1], ["0"], [70000], [1.5])),
    *([{"iothread": "b", "vqs": queues}] for queues in ([], [0], [1], [2], [0, 0], [1, 0])),
    [{"iothread": "b"}, {"iothread": "b"}],
    [{"iothread": "b"}, {"iothread": "a"}],
    [{"iothread": "b", "vqs": [0]}, {"iothread": "a"}],
    [{"iothread": "b", "vqs": [1]}, {"iothread": "a", "vqs": [0]}],
    [{"iothread": "b", "vqs": [1]}, {"iothread": "a", "vqs": [1]}],
]


@pytest.mark.parametrize("driver", ["virtio-scsi-pci", "virtio-blk-pci"])
@pytest.mark.parametrize("more", [{}, {"iothread": "a"}, {"ioeventfd": False}])
def test_queues_in_iothreads(tmp_path: Path, driver: str, more: dict[str, Any]) -> None:
    both = Both(tmp_path, "qemu-system-x86_64")
    prepare(both, machine=True)
    queues = "num_queues" if driver == "virtio-scsi-pci" else "num-queues"
    both.execute(null("n"))
    for number, mapping in enumerate(MAPPINGS):
        name = f"v{number}"
        device = {"driver": driver, "id": name, "iothread-vq-mapping": mapping, queues: 2}
        if driver == "virtio-blk-pci":
            both.execute(null(f"n{number}"))
            device["drive"] = f"n{number}"
        both.execute(("device_add", {**device, **more}))
        for name_of in ("iothread", "iothread-vq-mapping"):
            path = f"/machine/peripheral/{name}"
            both.execute(("qom-get", {"path": path, "property": name_of}))
        if driver == "virtio-scsi-pci":
            both.execute(null(f"n{number}"))
            both.execute(disk(f"n{number}", f"{name}.0"))
            for request in probes(f"n{number}"):
                both.execute(request)
    both.close()


def test_a_bus_that_knows_no_iothreads(tmp_path: Path) -> None:
    """The drive of a usb-storage is moved before there is the device."""
    options = ("-drive", "if=none,id=d,driver=null-co,node-name=n")
    both = Both(tmp_path, "qemu-system-x86_64", *options)
    prepare(both, machine=True)
    both.execute(move("n", "a"))
    both.execute(move("n", "a", force=True))
    both.execute(("device_add", {"driver": "usb-storage", "drive": "d", "id": "u"}))
    both.execute(("device_add", {"driver": "scsi-hd", "drive": "d", "id": "s", "bus": "s0.0"}))
    for request in probes("n"):
        both.execute(request)
    both.close()


def test_an_iothread_goes_while_it_is_used(tmp_path: Path) -> None:
    both = Both(tmp_path, "qemu-system-x86_64")
    prepare(both, machine=True)
    both.execute(null("n"))
    both.execute(disk("n", "sa.0"))
    thread = {"path": "/machine/peripheral/sa", "property": "iothread"}
    both.execute(("qom-get", thread))
    both.execute(("object-del", {"id": "a"}))
    both.execute(("qom-get", thread))
    both.execute(("object-del", {"id": "a"}))
    both.execute(object_add("a"))
    both.execute(("qom-get", thread))
    for request in probes("n"):
        both.execute(request)
    both.close()


def test_a_node_is_in_an_iothread_that_has_gone(tmp_path: Path) -> None:
    """The real program then uses memory that it has given back, which may end it."""
    program = StdioProgram(qmpd_argv(["qemu-storage-daemon", *DAEMON]), tmp_path)
    program.message()
    requests = [
        ("qmp_capabilities", {}),
        object_add("a"),
        null("n"),
        over("m", "n"),
        move("n", "a"),
        ("object-del", {"id": "a"}),
        object_add("a"),
        move("m", "a"),
        move("m", None),
        ("blockdev-del", {"node-name": "m"}),
        ("blockdev-del", {"node-name": "n"}),
    ]
    for command, arguments in requests:
        answer = program.execute({"execute": command, "arguments": arguments})
        assert answer[-1] == {"return": {}}, command
    program.close()
