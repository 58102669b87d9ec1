"""Chains built, snapshotted, committed, streamed and mirrored: any sequence, both programs.

What the guest of each disk reads is compared with a plain model after every step.  Jobs are
held at one chunk by a speed of one byte a second, so that both programs are at the same place
when the next thing happens; one that is not held is waited for.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    rule,
)

from tests.backup.program import CLUSTER
from tests.differential import chain_moves as moves
from tests.differential.chain_machine import GROUPS, ChainMachine
from tests.differential.chain_moves import DISKS, disks, given, places
from tests.differential.chain_program import (
    BLOCK,
    SIZE,
    first_content,
)
from tests.support.sequences import run_any_sequence
from tests.support.versions import examples

VERSIONS = ("5.2", "7.2", "10.0", "11.1")
EXAMPLES = int(os.environ.get("QMPD_CHAIN_EXAMPLES", "16"))


class Chains(ChainMachine):
    """What may be done to both programs."""

    @initialize(
        depth=st.lists(st.integers(0, 3), min_size=DISKS, max_size=DISKS),
        writes=st.lists(moves.guest_writes(), min_size=1, max_size=6),
    )
    def start(self, depth: list[int], writes: list[Any]) -> None:
        self.start_programs()
        cls = type(self)
        self.first = cls.examples % GROUPS * DISKS
        cls.examples += 1
        for program in self.programs:
            program.failed = False
        self.names = [f"d{self.first + disk}" for disk in range(DISKS)]
        self.models = [first_content(self.first + disk) for disk in range(DISKS)]
        for disk in range(DISKS):
            for layer in range(depth[disk]):
                arguments = self._sync_arguments(disk, None, None, True)
                self.do("blockdev-snapshot-sync", **arguments)
                for number, write in enumerate(writes):
                    if number % 3 == layer:
                        self.write(disk, write)
        self.look()
        self.read()

    # Snapshots

    def _sync_arguments(
        self, disk: int, place: int | None, wrong: str | None, named: bool
    ) -> dict[str, Any]:
        name = self.new()
        arguments = given(
            device=self.names[disk] if place is None else None,
            node_name=None if place is None else self.node(disk, place),
            snapshot_file=f"@/{name}.qcow2",
            snapshot_node_name=name if named or place is not None else None,
        )
        self.files.append(f"{name}.qcow2")
        match wrong:
            case "directory":
                arguments["snapshot-file"] = f"@/none/{name}.qcow2"
            case "existing":
                arguments |= {"snapshot-file": self.new_file(name), "mode": "existing"}
            case "missing":
                arguments["mode"] = "existing"
            case "format" | "raw":
                arguments["format"] = "raw" if wrong == "raw" else "nofmt"
            case "not-qcow2":
                arguments |= {"snapshot-file": self.new_file(name, "raw"), "mode": "existing"}
            case "busy":
                arguments["snapshot-file"] = self.file(self.node(disk, 0))
            case "name":
                arguments["snapshot-node-name"] = self.node(disk, 0)
            case "unnamed":
                arguments.pop("snapshot-node-name", None)
        return arguments

    def _action(self, snapshot: dict[str, Any]) -> dict[str, Any]:
        """A snapshot as an action of a transaction."""
        disk, place = snapshot["disk"], snapshot["place"]
        if snapshot["blockdev"]:
            overlay = self.new_node("qcow2", snapshot["fault"], backing=None)
            data = {"node": self.node(disk, place or 0), "overlay": overlay}
            return {"type": "blockdev-snapshot", "data": data}
        data = self._sync_arguments(disk, place, snapshot["wrong"], snapshot["named"])
        return {"type": "blockdev-snapshot-sync", "data": data}

    @rule(snapshot=moves.snapshots())
    def snapshot(self, snapshot: dict[str, Any]) -> None:
        action = self._action(snapshot)
        self.step(action["type"], **action["data"])

    @rule(
        snapshots=st.lists(moves.snapshots(), min_size=1, max_size=3),
        bitmap=st.one_of(st.none(), disks),
        abort=st.integers(0, 4),
    )
    def group(self, snapshots: list[dict[str, Any]], bitmap: int | None, abort: int) -> None:
        actions = [self._action(snapshot) for snapshot in snapshots]
        if bitmap is not None:
            data = {"node": self.names[bitmap], "name": "b"}
            actions.insert(0, {"type": "block-dirty-bitmap-add", "data": data})
        if abort == 0:
            actions.append({"type": "abort", "data": {}})
        self.step("transaction", actions=actions)

    @rule(disk=disks, name=st.sampled_from(["s", "t"]), delete=st.booleans())
    def internal_snapshot(self, disk: int, name: str, delete: bool) -> None:
        kind = "delete-internal" if delete else "internal"
        self.step(f"blockdev-snapshot-{kind}-sync", device=self.names[disk], name=name)

    # Jobs

    @rule(commit=moves.commits())
    def commit(self, commit: dict[str, Any]) -> None:
        disk, by_file = commit["disk"], commit["by_file"]
        chain = self.chain(disk) or ["nope"]
        where = [commit[name] for name in ("top", "base")]
        where = [None if place is None else place % len(chain) for place in where]
        if commit["sorted"] and None not in where:
            where.sort()
        if commit["options"]["job-id"] not in self.shown:
            self.where[commit["options"]["job-id"]] = disk
        ends = {}
        for name, place in zip(("top", "base"), where, strict=True):
            if place is not None:
                node = chain[place]
                ends[name if by_file else f"{name}-node"] = self.file(node) if by_file else node
        options = dict(commit["options"])
        if disk % 2 and where[0] in (None, 0) and options["on-error"] == "stop":
            # What an active commit that stops has left to copy varies in QEMU itself.
            options["on-error"] = "report"
        self.step("block-commit", device=self.names[disk], **ends, **options)

    @rule(stream=moves.streams())
    def stream(self, stream: dict[str, Any]) -> None:
        disk, device = stream["disk"], stream["device"]
        arguments = {"device": self.names[disk] if device is None else self.node(disk, device)}
        if stream["below"] is not None:
            node = self.node(disk, stream["below"])
            arguments[stream["how"]] = self.file(node) if stream["how"] == "base" else node
        self.step("block-stream", **arguments, **stream["options"])

    @rule(mirror=moves.mirrors())
    def mirror(self, mirror: dict[str, Any]) -> None:
        disk, options = mirror["disk"], dict(mirror["options"])
        if disk % 2 or mirror["fault"] is not None:
            # One request at a time: what several have done when one fails varies in QEMU itself.
            options |= {"buf-size": CLUSTER, "granularity": CLUSTER}
        if mirror["replaces"] is not None:
            options["replaces"] = self.node(disk, mirror["replaces"])
        job = options["job-id"]
        if job not in self.shown:
            self.unfit.discard(job)
            self.where[job] = disk
            if options.get("copy-mode") == "write-blocking":
                self.mark("blocking", job)
        if mirror["drive"]:
            options.pop("filter-node-name", None)
            name = self.new()
            self.files.append(f"{name}.{mirror['driver']}")
            target = f"@/{name}.{mirror['driver']}"
            options |= {"target": target, "format": mirror["driver"], "node-name": name}
            if options["sync"] != "full" and mirror["driver"] == "raw":
                options["sync"] = "full"
            self.step("drive-mirror", device=self.names[disk], **options)
            return
        options.pop("unmap", None)
        size = SIZE // 2 if mirror["short"] else SIZE
        more = {}
        driver = "raw" if mirror["short"] else mirror["driver"]
        if options["sync"] == "top":
            chain = self.chain(disk)
            if len(chain) > 1 and driver == "qcow2":
                more = {"backing": chain[1]}
            else:
                self.unfit.add(job)
        if options["sync"] == "none":
            self.unfit.add(job)
        target = self.new_node(driver, mirror["fault"], size, **more)
        self.step("blockdev-mirror", device=self.names[disk], target=target, **options)

    def mark(self, what: str, job: str) -> None:
        """Have the programs know what else must happen before `job` is at rest."""
        for program in self.programs:
            getattr(program, what).add(job)

    def job(self, number: int) -> str:
        return list(self.shown)[number % len(self.shown)] if self.shown else f"j{number}"

    @rule(number=moves.jobs, verb=st.sampled_from(["pause", "resume", "finalize", "dismiss"]))
    def verb(self, number: int, verb: str) -> None:
        self.step(f"job-{verb}", id=self.job(number))

    @rule(number=moves.jobs)
    def complete(self, number: int) -> None:
        """A mirror that has not copied all that a guest can read is not completed."""
        job = self.job(number)
        if self.shown.get(job, {}).get("status") in ("ready", "standby"):
            self.mark("ending", job)
        self.step("job-cancel" if job in self.unfit else "job-complete", id=job)

    @rule(number=moves.jobs, force=st.booleans())
    def cancel(self, number: int, force: bool) -> None:
        job = self.job(number)
        if self.shown.get(job, {}).get("status") == "ready":
            self.mark("ending", job)
        self.step("block-job-cancel", device=job, force=force)

    @rule(number=moves.jobs, speed=st.sampled_from([0, 0, 0, 1]))
    def set_speed(self, number: int, speed: int) -> None:
        self.step("block-job-set-speed", device=self.job(number), speed=speed)

    @rule(number=moves.jobs, mode=st.sampled_from(["write-blocking", "background"]))
    def change(self, number: int, mode: str) -> None:
        job = self.job(number)
        if mode == "write-blocking" and self.shown.get(job, {}).get("type") == "mirror":
            self.mark("blocking", job)
        self.step("block-job-change", id=job, type="mirror", copy_mode=mode)

    # Guests, bitmaps, the rest

    @rule(disk=disks, write=moves.guest_writes())
    def guest_write(self, disk: int, write: tuple[str, int, int, int]) -> None:
        self.write(disk, write)
        self.settle()
        self.look()
        self.read()

    def write(self, disk: int, write: tuple[str, int, int, int]) -> None:
        """A failed write leaves what was there."""
        if self.stopped(disk):
            return
        command, start, length, byte = write
        pattern = f" -P {byte}" if byte else ""
        line = f"{command}{pattern} {start * BLOCK} {length * BLOCK}"
        self.said.append((self.names[disk], line))
        printed = [program.guest(line, self.names[disk]) for program in self.programs]
        self.compare(printed)
        if "discard" not in command and any("wrote" in text for text in printed[0]):
            self.models[disk][start : start + length] = bytes([byte]) * length

    @rule(disk=disks)
    def guest_read(self, disk: int) -> None:
        program = self.programs[0]
        chain = program.chain(self.names[disk])
        if len(chain) == 2 and program.nodes[chain[0]]["drv"] == "copy-on-read":
            return  # QEMU dies of a read through a stream's filter above an image without backing.
        if self.stopped(disk):
            return
        self.said.append((self.names[disk], "read"))
        line = f"read 0 {8 * CLUSTER}"
        self.compare([program.guest(line, self.names[disk]) for program in self.programs])
        self.settle()

    @rule(
        disk=disks,
        place=places,
        kind=st.sampled_from(["add", "add", "clear", "remove"]),
        persistent=st.booleans(),
    )
    def bitmap(self, disk: int, place: int, kind: str, persistent: bool) -> None:
        more = {"persistent": persistent} if kind == "add" else {}
        node = self.node(disk, place)
        self.do(f"block-dirty-bitmap-{kind}", node=node, name="b", **more)
        self.look()
        self.compare([program.bitmaps() for program in self.programs])

    @rule(disk=disks, place=places)
    def delete(self, disk: int, place: int) -> None:
        self.step("blockdev-del", node_name=self.node(disk, place))

    @rule(disk=disks, place=places)
    def rename(self, disk: int, place: int) -> None:
        self.step(
            "change-backing-file",
            device=self.names[disk],
            image_node_name=self.node(disk, place),
            backing_file="@/other",
        )

    # The end

    def teardown(self) -> None:
        """End the jobs; compare what is left; give the next example the same programs."""
        if self.failed:
            self.close()
        if not self.programs:
            return
        try:
            self.compare([program.bitmaps() for program in self.programs])
            while self.shown:
                for job in self.shown:
                    self.do("job-cancel", id=job)
                    self.do("job-dismiss", id=job)
                self.look()
            self.read()
            for name in self.names:
                self.do("eject", device=name, force=True)
            for number in range(self.made, 0, -1):
                self.do("blockdev-del", node_name=f"o{number}")
            self.look()
            self.check_images()
        except BaseException:
            self.close()
            raise


@pytest.mark.parametrize("version", VERSIONS)
def test_any_sequence(version: str, tmp_path: Path) -> None:
    class Versions(Chains):
        pass

    Versions.scratch, Versions.version = tmp_path, version
    try:
        run_any_sequence(Versions, examples=examples(version, EXAMPLES, few=3), steps=10)
    finally:
        Versions.close()
