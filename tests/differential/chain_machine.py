"""Both programs with chains, given the same and compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import reject
from hypothesis.stateful import RuleBasedStateMachine

from qmpd.profile.shipped import DEFAULT
from tests.backup.program import CLUSTER
from tests.differential.chain_moves import DISKS
from tests.differential.chain_program import (
    SIZE,
    UNREADABLE,
    ChainProgram,
    Model,
    template,
)
from tests.support.normal import normal, normal_text
from tests.support.stdio import Gone
from tests.support.versions import real_argv

GROUPS = 3
"""Examples that one pair of programs is good for: each has disks of its own."""


class ChainMachine(RuleBasedStateMachine):
    """Gives both programs the same; answers, events, graph and content must be the same."""

    scratch: ClassVar[Path]
    version: ClassVar[str]
    programs: ClassVar[list[ChainProgram]] = []
    runs: ClassVar[int] = 0
    examples: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Any] = []
        self.shown: dict[str, Any] = {}
        self.files: list[str] = []
        self.made = 0
        self.unfit: set[str] = set()
        self.where: dict[str, int] = {}
        """The disk of each job."""
        self.names: list[str] = []
        self.models: list[Model] = []
        self.first = 0
        self.failed = False

    @classmethod
    def start_programs(cls) -> None:
        if cls.examples % GROUPS == 0:
            cls.close()
        if cls.programs:
            return
        cls.runs += 1
        cls.examples = 0
        image = template(cls.scratch)
        for side in ("real", "ours"):
            folder = cls.scratch / f"{side}{cls.runs}"
            real = side == "real"
            disks = GROUPS * DISKS
            program = ChainProgram(folder, image, real=real, disks=disks, version=cls.version)
            cls.programs.append(program)
        for program in cls.programs:
            program.greet()

    # Both programs

    def do(self, command: str, **arguments: Any) -> Any:
        """Give both the same, wait until they are quiet, and compare."""
        self.said.append((command, arguments))
        with self.alive():
            answers = [normal(program.do(command, **arguments)) for program in self.programs]
            self.said.append(answers[0])
            self.compare(answers)
            self.settle()
        return answers[0]

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Within, no program may end, but for a real one that comes upon a fault of its own.

        That of the default version comes upon none: what it dies of is not asked for.
        """
        try:
            yield
        except (Gone, TimeoutError, BrokenPipeError) as error:
            ended: list[int | None] = []
            for program in self.programs:
                try:
                    ended.append(program.program.process.wait(0.5))
                except subprocess.TimeoutExpired:
                    ended.append(None)
            faults = ([-signal.SIGABRT, None], [-signal.SIGSEGV, None])
            if ended in faults and self.version != DEFAULT:
                self.close()
                reject()
            self.check(False, f"{type(error).__name__} {ended} {error}")

    def settle(self) -> None:
        """Compare events and jobs once both are quiet."""
        jobs = [normal(program.quiet()) for program in self.programs]
        self.compare([program.told() for program in self.programs])
        self.compare(jobs)

    def step(self, command: str, **arguments: Any) -> Any:
        """As `do`, and compare all that there is."""
        answer = self.do(command, **arguments)
        self.look()
        self.read()
        return answer

    def look(self) -> None:
        """Compare nodes, disks and graph."""
        with self.alive():
            self.compare([program.look() for program in self.programs])
        self.shown = {job["id"]: job for job in self.programs[0].do("query-jobs")}

    def read(self) -> None:
        """Compare what the guests read with the models."""
        for disk, (name, model) in enumerate(zip(self.names, self.models, strict=True)):
            if self.stopped(disk):
                continue
            with self.alive():
                printed = [program.content(name, model) for program in self.programs]
            self.compare(printed)
            bad = [line for line in printed[0] if not _is_fault(line)]
            self.check(not bad, f"{name} reads {bad}")

    def stopped(self, disk: int) -> bool:
        """Whether guests' requests hang, as they do in both while a mirror is pending."""
        return any(
            job["status"] == "pending" and job["type"] != "stream" and self.where.get(name) == disk
            for name, job in self.shown.items()
        )

    def compare(self, both: list[Any]) -> None:
        if both[0] != both[1]:
            one, other = _first_difference(*map(str, both))
            self.check(False, f"QEMU {one}\nqmpd {other}")

    def check(self, good: bool, text: str) -> None:
        if not good:
            self.failed = True
            raise AssertionError("\n".join(map(str, [*self.said, text])))

    # Names

    def chain(self, disk: int) -> list[str]:
        """The images of a disk's chain that have names of our own, the top first."""
        program = self.programs[0]
        names = program.chain(self.names[disk])
        return [name for name in names if name[0] in "so"]

    def node(self, disk: int, place: int) -> str:
        chain = self.chain(disk)
        return chain[place % len(chain)] if chain else "nope"

    def file(self, node: str) -> str:
        """The file name of a node, as a request gives it."""
        shown = self.programs[0].nodes.get(node, {"file": "nope"})
        name: str = shown["file"]
        return name.replace(f"{self.programs[0].folder}/", "@/")

    def new(self) -> str:
        """A name for an image."""
        self.made += 1
        return f"o{self.made}"

    def new_file(self, name: str, driver: str = "qcow2", size: int = SIZE) -> str:
        """An empty image for both."""
        file = f"{name}.{driver}"
        self.said.append((file, driver, size))
        for program in self.programs:
            path = program.folder / file
            if driver == "raw" or size != SIZE:
                path.touch()
                os.truncate(path, size)
            else:
                shutil.copy(program.image, path)
        self.files.append(file)
        return f"@/{file}"

    def new_node(
        self, driver: str, fault: dict[str, Any] | None, size: int = SIZE, **options: Any
    ) -> str:
        """A node over an empty image."""
        name = self.new()
        file: dict[str, Any] = {"driver": "file", "filename": self.new_file(name, driver, size)}
        if fault is not None:
            file = {"driver": "blkdebug", "image": file, "inject-error": [fault]}
        self.do("blockdev-add", driver=driver, file=file, node_name=name, **options)
        return name

    def check_images(self) -> None:
        files = [f"s{self.first + n}" for n in range(DISKS) if (self.first + n) % 2 == 0]
        files += [file for file in self.files if file.endswith(".qcow2")]
        for file in dict.fromkeys(files):
            folders = [program.folder for program in self.programs]
            infos = [self.qemu_img(folder, "info", "--backing-chain", file) for folder in folders]
            self.compare([f"{file} {info}" for info in infos])
            failed = any(program.failed for program in self.programs)
            checks = [self.qemu_img(folder, "check", file, brief=failed) for folder in folders]
            self.compare([f"{file} {check}" for check in checks])

    def qemu_img(self, folder: Path, command: str, *arguments: str, brief: bool = False) -> str:
        """What qemu-img says of an image; if `brief`, not how much of it is in use."""
        words = ["qemu-img", command, "-U", "--output=json", *arguments]
        words = real_argv(self.version, words)
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
        said = json.loads(done.stdout) if done.stdout else None
        if isinstance(said, dict):
            # Requests that run side by side allocate in an order that varies in QEMU itself.
            said.pop("fragmented-clusters", None)
            if brief:
                said = {name: said[name] for name in said if "-clusters" not in name}
                said.pop("image-end-offset", None)
        text = normal_text(done.stderr, str(folder))
        return f"{done.returncode} {normal(said, str(folder))} {text}"

    @classmethod
    def close(cls) -> None:
        """End the programs."""
        programs, cls.programs = cls.programs, []
        cls.examples = 0
        with ExitStack() as stack:
            for program in programs:
                stack.callback(program.close)


def _is_fault(line: str) -> bool:
    """Whether a read failed in the cluster that cannot be read, or in a part of it."""
    found = re.search(r" (\d+) \d+: read failed: ", line)
    return found is not None and int(found.group(1)) // CLUSTER == UNREADABLE


def _first_difference(real: str, ours: str) -> tuple[str, str]:
    at = next(
        (n for n, (a, b) in enumerate(zip(real, ours, strict=False)) if a != b),
        min(len(real), len(ours)),
    )
    return real[max(0, at - 300) : at + 300], ours[max(0, at - 300) : at + 300]
