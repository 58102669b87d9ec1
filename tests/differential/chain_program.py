"""A program with disks whose chains grow and shrink: what its guests read, what its graph is."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from qmpd.profile.shipped import DEFAULT
from tests.backup.program import CLUSTER
from tests.interop.bench import ImageBench
from tests.support.event_text import event_text
from tests.support.known import known
from tests.support.normal import normal, normal_text
from tests.support.stdio import StdioProgram
from tests.support.versions import both_argv

BLOCK = 4096
"""Bytes that a guest writes at once, at least; all bytes of a block are the same."""
CLUSTERS = 24
SIZE = CLUSTERS * CLUSTER
UNREADABLE, UNWRITABLE = 11, 3
"""Clusters of raw disks that cannot be read, and that cannot be written once."""
QUIET = 0.03
"""Seconds in which a job that is held does not move."""
HUNG = 2.0
"""Seconds after which a job that does not move is taken for one that never will."""
SECTORS = CLUSTER // 512
_FAULTS = """[inject-error]
event = "none"
iotype = "read"
sector = "{}"

[inject-error]
event = "none"
iotype = "write"
sector = "{}"
once = "on"
"""
RESTING = {"paused", "standby", "pending", "concluded"}

Model = bytearray
"""The byte of each block of a disk."""


def template(folder: Path) -> Path:
    """A qcow2 image with nothing in it."""
    path = folder / "template.qcow2"
    bench = ImageBench()
    bench.create(path, SIZE, {})
    bench.close()
    return path


def first_content(disk: int) -> Model:
    """What disk `disk` holds when the program starts."""
    blocks = SIZE // BLOCK
    return Model([disk + 1] * (blocks // 2) + [0] * (blocks // 2) if disk % 2 else [0] * blocks)


class ChainProgram:
    """A system emulator with disks ``d0``, ``d1`` ...; those with odd numbers are raw.

    :param folder: an empty one, where its images are
    :param image: an empty image to copy
    :param real: whether it is QEMU's
    :param version: of QEMU; what it does not know is left out of requests
    """

    def __init__(
        self, folder: Path, image: Path, *, real: bool, disks: int, version: str = DEFAULT
    ) -> None:
        folder.mkdir()
        self.folder = folder
        self.version = version
        self.image = image
        self.events: list[str] = []
        """What was said since the last `told`."""
        self.printed: list[str] = []
        """What was printed since the last `output`."""
        self.nodes: dict[str, dict[str, Any]] = {}
        self.roots: dict[str, str] = {}
        self.below: dict[str, dict[str, str]] = {}
        self.blocking: set[str] = set()
        """Mirrors in copy mode write-blocking."""
        self.ending: set[str] = set()
        """Ready jobs that were told to complete."""
        self.failed = False
        """Whether a job has told of an error."""
        argv = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
        for disk in range(disks):
            argv += ["-drive", self._drive(disk)]
        argv += ["-qmp", "stdio"]
        self.program = StdioProgram(both_argv(version, argv)[0 if real else 1], folder)

    def greet(self) -> None:
        """Wait until it has started."""
        self.program.message()
        self.do("qmp_capabilities")

    def _drive(self, disk: int) -> str:
        path = self.folder / f"s{disk}.img"
        start = f"if=none,id=d{disk},node-name=s{disk}"
        if disk % 2 == 0:
            shutil.copy(self.image, path)
            return f"{start},driver=qcow2,file.driver=file,file.filename={path}"
        with path.open("wb") as file:
            file.write(bytes([disk + 1]) * (SIZE // 2))
            file.truncate(SIZE)
        config = self.folder / f"s{disk}.faults"
        config.write_text(_FAULTS.format(UNREADABLE * SECTORS, UNWRITABLE * SECTORS))
        image = f"file.config={config},file.image.driver=file,file.image.filename={path}"
        return f"{start},driver=raw,file.driver=blkdebug,{image}"

    # Talking

    def do(self, command: str, **arguments: Any) -> Any:
        """Run a command; its value, or its error as ``{"error": [class, text]}``.

        ``@`` in arguments stands for the program's folder.
        """
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        named = known(self.version, command, named)
        request = json.dumps({"execute": command, "arguments": named})
        self.program.send(request.replace("@/", f"{self.folder}/").encode() + b"\n")
        while True:
            line = self.program.line()
            if not line.startswith(b"{"):
                self.printed.append(normal_text(line.decode()))
                continue
            message = json.loads(line)
            if "return" in message:
                return message["return"]
            if "error" in message:
                error = message["error"]
                return {"error": [error["class"], normal_text(error["desc"], str(self.folder))]}
            self._note(message)

    def guest(self, line: str, node: str) -> list[str]:
        """Have qemu-io do something; what it prints."""
        self.printed.clear()
        said = self.do("human-monitor-command", command_line=f'qemu-io {node} "{line}"')
        return [normal_text(said), *self.printed]

    def told(self) -> dict[str, list[str]]:
        """The events since the last call in their order, job by job."""
        told: dict[str, list[str]] = {}
        for event in self.events:
            told.setdefault(event.split()[1], []).append(event)
        self.events.clear()
        return told

    def _note(self, event: Any) -> None:
        data = event["data"]
        if "error" in data:
            # How far it came by then varies.
            event["data"] = {"device": data["device"], "error": data["error"]}
        text = event_text(event)
        if event["event"] == "BLOCK_JOB_ERROR":
            # How many requests of a mirror fail side by side varies in QEMU itself.
            self.failed = True
            if text in self.events[-1:]:
                return
        self.events.append(text)

    # What there is

    def quiet(self) -> list[Any]:
        """The jobs, once nothing moves any more."""
        moving = time.monotonic()
        before = None
        while True:
            # Before the jobs: what is not dirty any more counts in a job's length.
            behind: dict[str, int] = self._behind() if before is not None else {}
            jobs: list[Any] = self.do("query-jobs")
            shown: list[Any] = self.do("query-block-jobs")
            if jobs and (jobs, shown) != before:
                before, moving = (jobs, shown), time.monotonic()
                continue
            still = time.monotonic() - moving
            at_rest = still > HUNG or self._rest(shown, behind, still)
            if at_rest and not self.program.at_work():
                ids = {job["id"] for job in jobs}
                self.blocking &= ids
                self.ending &= ids
                return _comparable(jobs, shown)

    def _rest(self, jobs: list[Any], behind: dict[str, int], still: float) -> bool:
        """Whether no job will move before something happens, `still` seconds after one did."""
        jobs = [job for job in jobs if job["status"] not in RESTING]
        if not jobs:
            return True
        for job in jobs:
            dirty = behind.get(job["device"])
            if dirty is not None and job["offset"] + dirty < job["len"]:
                return False  # Something is on its way to the target.
            synced = job["device"] not in self.blocking or job.get("actively-synced", True)
            # One that is to pause may sleep until then, for a tenth of a second at most.
            moves = dirty or not synced or job["paused"] or job["device"] in self.ending
            if job["status"] == "ready" and moves:
                return False
            held = job["speed"] == 1 and not job["busy"] and still > QUIET
            if job["status"] != "ready" and not held:
                return False
        return True

    def _behind(self) -> dict[str, int]:
        """How many bytes each mirror has left to copy.

        The bitmap that says so is its filter's, or its source's in old versions.
        """
        dirty = {
            node["node-name"]: sum(b["count"] for b in node["dirty-bitmaps"] if "name" not in b)
            for node in self.do("query-named-block-nodes", flat=True)
            if any("name" not in bitmap for bitmap in node.get("dirty-bitmaps", []))
        }
        graph = self.do("x-debug-query-block-graph")
        names = {node["id"]: node["name"] for node in graph["nodes"]}
        jobs = {node["id"] for node in graph["nodes"] if node["type"] == "block-job"}
        mirrors = {e["parent"] for e in graph["edges"] if e["name"] == "source"} & jobs
        return {
            names[edge["parent"]]: dirty[names[edge["child"]]]
            for edge in graph["edges"]
            if edge["parent"] in mirrors and edge["name"] in ("main node", "source")
            if names[edge["child"]] in dirty
        }

    def look(self) -> Any:
        """All nodes and disks, and how they hang together."""
        named = self.do("query-named-block-nodes")
        self.nodes = {node["node-name"]: node for node in named}
        graph = self.do("x-debug-query-block-graph")
        names = {node["id"]: node["name"] for node in graph["nodes"]}
        types = {node["id"]: node["type"] for node in graph["nodes"]}
        self.roots, self.below = {}, {}
        edges = []
        for edge in graph["edges"]:
            parent, child = names[edge["parent"]], names[edge["child"]]
            if types[edge["parent"]] == "block-backend":
                self.roots[parent] = child
            elif types[edge["parent"]] == "block-driver":
                self.below.setdefault(parent, {})[edge["name"]] = child
            edges.append({**edge, "parent": parent, "child": child})
        nodes = [[node["name"], node["type"]] for node in graph["nodes"]]
        shown = [named, self.do("query-block"), nodes, edges]
        return normal(shown, str(self.folder))

    def chain(self, disk: str) -> list[str]:
        """The nodes from the one below the disk downwards, with filters."""
        chain = []
        name = self.roots.get(disk)
        while name is not None:
            chain.append(name)
            children = self.below.get(name, {})
            below = children.get("backing")
            if self.nodes[name]["drv"] == "copy-on-read":
                below = children.get("file")
            name = below
        return chain

    def bitmaps(self) -> Any:
        """The hash of each bitmap that has a name."""
        return {
            f"{normal_text(node)} {bitmap['name']}": self.do(
                "x-debug-block-dirty-bitmap-sha256", node=node, name=bitmap["name"]
            )
            for node, shown in self.nodes.items()
            for bitmap in shown.get("dirty-bitmaps", [])
            if "name" in bitmap
        }

    def content(self, disk: str, model: Model) -> list[str]:
        """What it prints when all of a disk is read and must be as in `model`.

        A stream's filter is passed by, for it copies what a guest reads.
        """
        chain = self.chain(disk)
        node = next(name for name in chain if self.nodes[name]["drv"] != "copy-on-read")
        # The disk itself is asked wherever that changes nothing.
        node = disk if node == chain[0] else node
        printed = []
        for start, end in _runs(model, disk):
            line = f"read -q -P {model[start]} {start * BLOCK} {(end - start) * BLOCK}"
            said = self.guest(line, node)
            printed += [(line, text) for text in said if text]
        return [f"{line}: {text}" for line, text in printed]

    def close(self) -> None:
        """End the program."""
        self.program.close()


def _comparable(jobs: list[Any], shown: list[Any]) -> list[Any]:
    """Jobs without what varies in QEMU itself: how far one had come that has met an error."""
    failed = {job["id"] for job in jobs if "error" in job}
    failed |= {job["device"] for job in shown if job["io-status"] != "ok"}
    for job in jobs:
        if job["id"] in failed:
            job["current-progress"] = job["total-progress"] = None
    for job in shown:
        job["busy"] = None
        if job["device"] in failed:
            job["offset"] = job["len"] = None
    return [jobs, shown]


def _runs(model: Model, disk: str) -> list[tuple[int, int]]:
    """Areas of one byte, in blocks; the cluster that cannot be read is one of its own."""
    fault = UNREADABLE * CLUSTER // BLOCK
    cuts = {fault, fault + CLUSTER // BLOCK} if int(disk[1:]) % 2 else set()
    runs, start = [], 0
    for at in range(1, len(model) + 1):
        if at == len(model) or model[at] != model[start] or at in cuts:
            runs.append((start, at))
            start = at
    return runs
