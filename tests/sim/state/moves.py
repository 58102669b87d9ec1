"""Random sessions with a machine: the same seed gives the same one, whatever the answers are."""

from __future__ import annotations

from random import Random
from typing import Any

import qmpd
from qmpd.errors import BlockIOError, QmpError, WaitsForever

QUERIES = (
    "query-named-block-nodes",
    "query-block",
    "query-blockstats",
    "x-debug-query-block-graph",
    "query-block-exports",
    "query-jobs",
    "query-block-jobs",
    "query-status",
    "query-iothreads",
    "qom-list",
)

NODES = ("d", "t", "q", "s", "n0", "n1", "n2", "n3")
BITMAPS = ("b0", "b1", "b2")
JOBS = ("j0", "j1")
MIB = 1 << 20


def new_machine(seed: int, schedule: int | None = None) -> qmpd.Machine:
    """The machine that sessions are held with."""
    return qmpd.Machine(
        disks={"d": "4M", "t": "4M"},
        images={
            "q": {"path": "/q.qcow2", "format": "qcow2", "size": "4M", "cluster_size": "4k"},
            "s": {"path": "/s.qcow2", "format": "qcow2", "size": "4M", "lazy_refcounts": True},
        },
        seed=seed,
        schedule=schedule,
    )


def look(vm: qmpd.Machine) -> list[Any]:
    """All that queries tell, and what the guest reads."""
    shown: list[Any] = []
    for command in QUERIES:
        shown.append(vm.qmp(command, {"path": "/objects"} if command == "qom-list" else {}))
    shown.append(vm.qmp("query-blockstats", {"query-nodes": True}))
    shown.append(vm.hmp("info block -v"))
    shown.append(vm.hmp("info qtree"))
    shown.append(vm.hmp("info snapshots"))
    for name in ("d", "t", "q", "s"):
        try:
            shown.append(hash(vm.disk(name).read(0, 4 * MIB)))
        except (QmpError, LookupError, WaitsForever) as error:
            shown.append(str(error))
    return shown


class Session:
    """A session, a step at a time."""

    def __init__(self, seed: int) -> None:
        self._random = random = Random(seed)
        self._pick = random.choice

    def step(self, vm: qmpd.Machine) -> list[Any]:
        """Do something; returns the answer, and what came meanwhile."""
        move = self._pick(_MOVES)
        said: list[Any] = []
        try:
            said.append(getattr(self, move)(vm))
        except (BlockIOError, LookupError, WaitsForever, TimeoutError) as error:
            said.append(f"{type(error).__name__}: {error}")
        said.append(vm.get_qmp_events())
        return said

    def skip(self, steps: int, vm: qmpd.Machine) -> None:
        """Do some steps."""
        for _ in range(steps):
            self.step(vm)

    # The moves

    def add_node(self, vm: qmpd.Machine) -> Any:
        """Blockdev-add, with drivers of all kinds."""
        name, child = self._pick(NODES[4:]), self._pick(NODES)
        file = self._pick(["/x", "/y", "/q.qcow2"])
        options: dict[str, Any] = self._pick(
            [
                {"driver": "null-co", "size": MIB},
                {"driver": "file", "filename": file},
                {"driver": "qcow2", "file": {"driver": "file", "filename": file}},
                {"driver": "qcow2", "file": child},
                {"driver": "raw", "file": child, "offset": 65536, "size": 65536},
                {"driver": "throttle", "file": child, "throttle-group": "tg"},
                {"driver": "copy-on-read", "file": child},
                {"driver": "blkdebug", "image": child, "set-state": [{"event": "none"}]},
                {"driver": "quorum", "vote-threshold": 1, "children": [child, self._pick(NODES)]},
                {"driver": "preallocate", "file": child},
                {"driver": "compress", "file": child},
                {"driver": "snapshot-access", "file": child},
                {"driver": "copy-before-write", "file": child, "target": self._pick(NODES)},
            ]
        )
        return vm.qmp("blockdev-add", {"node-name": name, **options})

    def delete_node(self, vm: qmpd.Machine) -> Any:
        """Blockdev-del."""
        return vm.qmp("blockdev-del", {"node-name": self._pick(NODES)})

    def bitmap(self, vm: qmpd.Machine) -> Any:
        """One of the bitmap commands."""
        node, name = self._pick(NODES), self._pick(BITMAPS)
        verb = self._pick(["add", "add", "add", "remove", "clear", "enable", "disable", "merge"])
        rest: dict[str, Any] = {"node": node, "name": name}
        if verb == "add":
            rest["granularity"] = self._pick([512, 4096, 65536])
            rest["persistent"] = self._pick([True, False])
            rest["disabled"] = self._pick([True, False, False])
        if verb == "merge":
            sources = [self._pick(BITMAPS), {"node": self._pick(NODES), "name": "b0"}]
            rest = {"node": node, "target": name, "bitmaps": sources}
        return vm.qmp(f"block-dirty-bitmap-{verb}", rest)

    def guest(self, vm: qmpd.Machine) -> Any:
        """A request of the guest."""
        disk = vm.disk(self._pick(["d", "t", "q", "q", "s"]))
        start = self._random.randrange(0, 4 * MIB - 131072, 512)
        length = self._pick([512, 4096, 65536, 131072])
        byte = self._random.randrange(1, 250)
        what = self._pick(["write", "write", "write", "zero", "unmap", "discard", "flush", "fua"])
        if what in ("write", "fua"):
            return disk.write(start, bytes([byte]) * length, fua=what == "fua")
        if what in ("zero", "unmap"):
            return disk.write_zeroes(start, length, unmap=what == "unmap")
        return disk.discard(start, length) if what == "discard" else disk.flush()

    def snapshot(self, vm: qmpd.Machine) -> Any:
        """An external or an internal snapshot."""
        node, name = self._pick(["d", "q", "s"]), self._pick(["x0", "x1"])
        file = f"/over{self._random.randrange(6)}"
        moves: list[tuple[str, dict[str, Any]]] = [
            (
                "blockdev-snapshot-sync",
                {"node-name": node, "snapshot-file": file, "snapshot-node-name": name},
            ),
            ("blockdev-snapshot-sync", {"device": node, "snapshot-file": file}),
            ("blockdev-snapshot-internal-sync", {"device": node, "name": name}),
            ("blockdev-snapshot-delete-internal-sync", {"device": node, "name": name}),
            ("blockdev-snapshot", {"node": node, "overlay": self._pick(NODES)}),
            ("snapshot-save", {"job-id": "s0", "tag": name, "vmstate": "q", "devices": ["q"]}),
        ]
        command, rest = self._pick(moves)
        return vm.qmp(command, rest)

    def start_job(self, vm: qmpd.Machine) -> Any:
        """A block job, mostly one that ends by itself."""
        node, target = self._pick(["d", "q", "s"]), self._pick(["t", *NODES])
        rest = {
            "job-id": self._pick(JOBS),
            "auto-dismiss": self._pick([True, True, False]),
            "auto-finalize": self._pick([True, True, True, False]),
            "speed": self._pick([0, 0, 0, MIB]),
        }
        command, more = self._pick(
            [
                ("blockdev-backup", {"target": target, "sync": "full"}),
                ("blockdev-backup", {"target": target, "sync": "bitmap", "bitmap": "b0"}),
                (
                    "blockdev-backup",
                    {"target": target, "sync": "incremental", "bitmap": self._pick(BITMAPS)},
                ),
                ("blockdev-mirror", {"target": target, "sync": "full"}),
                ("block-commit", {}),
                ("block-stream", {}),
            ]
        )
        if more.get("sync") == "bitmap":
            more["bitmap-mode"] = self._pick(["always", "never", "on-success"])
        return vm.qmp(command, {"device": node, **rest, **more})

    def job(self, vm: qmpd.Machine) -> Any:
        """A verb for a job."""
        verb = self._pick(["dismiss", "finalize", "cancel", "complete", "pause", "resume"])
        return vm.qmp(f"job-{verb}", {"id": self._pick(JOBS)})

    def end_jobs(self, vm: qmpd.Machine) -> Any:
        """End all jobs."""
        said = []
        for job in vm.cmd("query-jobs"):
            for verb in ("cancel", "finalize", "dismiss"):
                said.append(vm.qmp(f"job-{verb}", {"id": job["id"]}))
        return said

    def objects(self, vm: qmpd.Machine) -> Any:
        """Objects of QOM."""
        limits = {"iops-total": self._pick([0, 10, 100]), "bps-write": self._pick([0, MIB])}
        moves: list[tuple[str, dict[str, Any]]] = [
            ("object-add", {"qom-type": "throttle-group", "id": "tg", "limits": limits}),
            ("object-add", {"qom-type": "iothread", "id": "io0"}),
            ("object-del", {"id": self._pick(["tg", "io0"])}),
            ("qom-list", {"path": "/objects"}),
            ("qom-set", {"path": "/objects/tg", "property": "limits", "value": limits}),
        ]
        command, rest = self._pick(moves)
        return vm.qmp(command, rest)

    def throttle(self, vm: qmpd.Machine) -> Any:
        """Limits on a backend."""
        names = ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")
        rates = dict.fromkeys(names, 0)
        rates[self._pick(["bps", "iops", "iops_wr"])] = self._pick([0, MIB, 100 * MIB])
        device = self._pick(["d", "q"])
        return vm.qmp("block_set_io_throttle", {"device": device, **rates})

    def change(self, vm: qmpd.Machine) -> Any:
        """Something that changes a node."""
        node = self._pick(NODES)
        file = {"driver": "file", "filename": "/q.qcow2"}
        q = {"node-name": "q", "driver": "qcow2", "file": file}
        moves: list[tuple[str, dict[str, Any]]] = [
            ("block_resize", {"node-name": node, "size": self._pick([4 * MIB, 5 * MIB, MIB])}),
            ("blockdev-reopen", {"options": [{**q, "lazy-refcounts": True}]}),
            ("block-set-write-threshold", {"node-name": node, "write-threshold": MIB}),
            ("blockdev-set-active", {"node-name": node, "active": True}),
            ("x-blockdev-change", {"parent": node, "node": self._pick(NODES)}),
            (
                "change-backing-file",
                {"device": "q", "image-node-name": node, "backing-file": "/b"},
            ),
        ]
        command, rest = self._pick(moves)
        return vm.qmp(command, rest)

    def transaction(self, vm: qmpd.Machine) -> Any:
        """Several actions at once."""
        node, name = self._pick(["d", "q"]), self._pick(BITMAPS)
        actions = [
            {"type": "block-dirty-bitmap-add", "data": {"node": node, "name": name}},
            {"type": "block-dirty-bitmap-clear", "data": {"node": node, "name": "b0"}},
            {
                "type": "blockdev-backup",
                "data": {"job-id": "j0", "device": node, "target": "t", "sync": "none"},
            },
        ]
        count = self._random.randrange(1, 4)
        return vm.qmp("transaction", {"actions": actions[:count]})

    def guest_state(self, vm: qmpd.Machine) -> Any:
        """Stop, cont, reset."""
        return vm.qmp(self._pick(["stop", "cont", "system_reset", "query-status"]))

    def hmp(self, vm: qmpd.Machine) -> Any:
        """The human monitor."""
        lines = (
            "info block",
            'qemu-io q "read 0 4k"',
            'qemu-io d "aio_write 0 4k"',
            "savevm v0",
            "loadvm v0",
            "delvm v0",
            "commit all",
            "drive_add 0 if=none,id=hd0,file=/x",
        )
        return vm.hmp(self._pick(lines)), list(vm.printed)

    def time(self, vm: qmpd.Machine) -> Any:
        """Time passes."""
        vm.clock.advance(self._pick([0.1, 1, 10]))
        return vm.clock.now_ns

    def create(self, vm: qmpd.Machine) -> Any:
        """A new image."""
        file = self._pick(["/x", "/y"])
        options = self._pick(
            [
                {"driver": "file", "filename": file, "size": MIB},
                {"driver": "qcow2", "file": self._pick(NODES), "size": MIB},
            ]
        )
        said = vm.qmp("blockdev-create", {"job-id": "c0", "options": options})
        return said, vm.qmp("job-dismiss", {"id": "c0"})


_MOVES = (
    *("add_node", "delete_node", "bitmap", "bitmap", "guest", "guest", "guest", "snapshot"),
    *("start_job", "job", "end_jobs", "end_jobs", "objects", "throttle", "change", "transaction"),
    *("guest_state", "hmp", "time", "create"),
)
