"""Random work on qcow2 images of random geometry; qemu-img is the judge after each."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmpd.block.change.reopen import blockdev_reopen
from qmpd.block.model.families import Snapshots
from qmpd.block.model.node import Node
from qmpd.errors import BlockIOError
from tests.interop.bench import ImageBench, needs_qemu_img, qemu_img, qemu_io, qemu_map, qmpd_map

EXAMPLES = int(os.environ.get("QMPD_INTEROP_EXAMPLES", "40"))
SIZES = (512, 65536, 1 << 20, 3 * 65536 + 512, 2 << 20)


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, Any]:
    version = draw(st.sampled_from(["v2", "v3", "v3", "v3"]))
    cluster = 1 << draw(st.sampled_from([9, 12, 14, 16, 16, 16, 18]))
    options: dict[str, Any] = {"version": version, "cluster-size": cluster}
    if version == "v3":
        options["refcount-bits"] = draw(st.sampled_from([1, 2, 4, 8, 16, 16, 32, 64]))
        options["lazy-refcounts"] = draw(st.booleans())
        if cluster >= 1 << 14:
            options["extended-l2"] = draw(st.booleans())
    options["preallocation"] = draw(st.sampled_from(["off", "off", "off", "metadata", "falloc"]))
    return options


Operation = tuple[Any, ...]
fractions = st.floats(0, 1, allow_nan=False)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("write"), fractions, fractions, st.integers(1, 255)),
        st.tuples(st.just("zero"), fractions, fractions, st.booleans()),
        st.tuples(st.just("discard"), fractions, fractions),
        st.tuples(st.just("compress"), fractions, st.integers(1, 255)),
        st.tuples(st.just("resize"), st.sampled_from(SIZES)),
        st.tuples(st.just("snapshot"), st.sampled_from("ab")),
        st.tuples(st.just("revert"), st.sampled_from("ab")),
        st.tuples(st.just("drop"), st.sampled_from("ab")),
        st.tuples(st.just("flush")),
        st.tuples(st.just("close")),
        st.tuples(st.just("reopen"), st.booleans()),
    ),
    max_size=14,
)


class Play:
    """An image and a model of it, worked at alike."""

    def __init__(self, bench: ImageBench, path: Path, model: bytearray, **options: Any) -> None:
        self.bench = bench
        self.path = path
        self.model = model
        self.options = options
        self.snapshots: dict[str, bytes] = {}
        self.node = bench.open(path, **options)
        self.single_refcount = False

    def do(self, operation: Operation) -> None:
        getattr(self, operation[0])(*operation[1:])

    def _area(self, start: float, size: float) -> tuple[int, int]:
        end = len(self.model)
        offset = int(start * end) // 512 * 512
        return offset, min(end - offset, max(512, int(size * end / 3) // 512 * 512))

    def write(self, start: float, size: float, byte: int) -> None:
        offset, length = self._area(start, size)
        self.bench.run(self.node.pwrite(offset, bytes([byte]) * length))
        self.model[offset : offset + length] = bytes([byte]) * length

    def zero(self, start: float, size: float, unmap: bool) -> None:
        offset, length = self._area(start, size)
        self.bench.run(self.node.pwrite_zeroes(offset, length, may_unmap=unmap))
        self.model[offset : offset + length] = bytes(length)

    def discard(self, start: float, size: float) -> None:
        offset, length = self._area(start, size)
        self.bench.run(self.node.pdiscard(offset, length))
        # What is discarded may stay, or read as zeroes, cluster by cluster.
        data = self.bench.run(self.node.pread(offset, length))
        for at in range(0, length, 512):
            piece = data[at : at + 512]
            assert piece in (bytes(512), bytes(self.model[offset + at : offset + at + 512]))
        self.model[offset : offset + length] = data

    def compress(self, start: float, byte: int) -> None:
        cluster = self.node.driver.cluster_size() or 65536
        offset = int(start * len(self.model)) // cluster * cluster
        length = min(cluster, len(self.model) - offset)
        if not length or "data-file" in self.node.children:
            return
        try:
            self.bench.run(self.node.pwrite_compressed(offset, bytes([byte]) * length))
        except BlockIOError:
            return  # what is allocated is not written compressed
        self.model[offset : offset + length] = bytes([byte]) * length

    def resize(self, size: int) -> None:
        if self.snapshots and size < len(self.model):
            return
        try:
            self.bench.run(self.node.truncate(size, exact=True))
        except BlockIOError:
            assert self.snapshots
            return
        before = len(self.model)
        self.model[:] = self.model[:size] + bytes(max(0, size - before))
        # Like QEMU's, an image that was cut inside a cluster shows the rest when it grows again.
        cluster = self.node.driver.cluster_size() or 65536
        end = min(size, -(-before // cluster) * cluster)
        if before < end:
            self.model[before:end] = self.bench.run(self.node.pread(before, end - before))

    @property
    def _snapshots(self) -> Snapshots:
        assert isinstance(self.node.driver, Snapshots)
        return self.node.driver

    def snapshot(self, name: str) -> None:
        if name in self.snapshots or self.single_refcount or "data-file" in self.node.children:
            return
        self.bench.run(self._snapshots.snapshot_create(name, 1_000_000_002, 3))
        self.snapshots[name] = bytes(self.model)

    def revert(self, name: str) -> None:
        if name in self.snapshots and len(self.snapshots[name]) == len(self.model):
            found = {s["name"]: s["id"] for s in self._snapshots.snapshot_list()}
            self.bench.run(self._snapshots.snapshot_goto(found[name]))
            self.model[:] = self.snapshots[name]

    def drop(self, name: str) -> None:
        if name in self.snapshots:
            self.bench.run(self._snapshots.snapshot_delete(None, name))
            del self.snapshots[name]

    def flush(self) -> None:
        self.bench.run(self.node.flush())

    def close(self) -> None:
        self.bench.shut()
        self.node = self.bench.open(self.path, **self.options)

    def reopen(self, read_only: bool) -> None:
        for value in (read_only, False):
            options: dict[str, Any] = {
                "driver": "qcow2",
                "node-name": "disk",
                "discard": "unmap",
                "file": self.node.children["file"].node.node_name,
                "read-only": value,
            }
            for name in ("backing", "data-file"):
                if name in self.node.children:
                    options[name] = self.node.children[name].node.node_name
            self.bench.run(blockdev_reopen(self.bench.graph, [options]))

    def judge(self, scratch: Path) -> None:
        """What is read is the model's; qemu-img agrees with content, map and metadata."""
        node: Node = self.node
        assert node.length == len(self.model)
        assert self.bench.run(node.pread(0, node.length)) == bytes(self.model)
        areas = qmpd_map(self.bench, node)
        self.bench.shut()
        raw = scratch / "model.raw"
        raw.write_bytes(self.model)
        qemu_img("check", "-q", self.path)
        qemu_img("compare", "-q", "-F", "raw", self.path, raw)
        assert areas == qemu_map(self.path)


relaxed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@needs_qemu_img
@relaxed
@given(geometries(), st.sampled_from(SIZES), operations, st.booleans())
def test_images_that_qmpd_made(
    options: dict[str, Any], size: int, todo: list[Operation], data_file: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        bench, path = ImageBench(), Path(name) / "image.qcow2"
        if data_file and options["version"] == "v3":
            options = {**options, "data-file": path.with_name("data.raw"), "refcount-bits": 16}
        bench.create(path, size, options)
        play = Play(bench, path, bytearray(size))
        play.single_refcount = options.get("refcount-bits") == 1
        for operation in todo:
            play.do(operation)
        play.judge(path.parent)
        bench.close()


@st.composite
def foreign(draw: st.DrawFn) -> list[str]:
    options = [f"compat={draw(st.sampled_from(['0.10', '1.1', '1.1']))}"]
    if options == ["compat=1.1"]:
        options.append(f"extended_l2={draw(st.sampled_from(['on', 'off']))}")
        options.append(f"compression_type={draw(st.sampled_from(['zlib', 'zlib']))}")
    cluster = draw(st.sampled_from(["16k", "64k", "128k"]))
    options.append(f"cluster_size={cluster}")
    return options


@needs_qemu_img
@relaxed
@given(foreign(), operations, st.booleans(), st.booleans())
def test_images_that_qemu_img_made(
    options: list[str], todo: list[Operation], compressed: bool, backed: bool
) -> None:
    size = 1 << 20
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        base, path = scratch / "base.raw", scratch / "image.qcow2"
        content = bytearray(size)
        content[: 1 << 18] = b"\x11" * (1 << 18)
        content[5 << 16 : (5 << 16) + 700] = b"\x22" * 700
        base.write_bytes(content)
        if backed:
            qemu_img(
                *("create", "-q", "-f", "qcow2", "-b", base, "-F", "raw"),
                *("-o", ",".join(options), path),
            )
            qemu_io(path, "write -q -P 7 100k 200k", "write -q -z 600k 70k")
            content[100 << 10 : 300 << 10] = b"\x07" * (200 << 10)
            content[600 << 10 : 670 << 10] = bytes(70 << 10)
        else:
            words = ["convert", *(["-c"] if compressed else []), "-O", "qcow2"]
            qemu_img(*words, "-o", ",".join(options), "-f", "raw", base, path)
        bench = ImageBench()
        play = Play(bench, path, content)
        for operation in todo:
            if operation[0] != "resize" or not backed:
                play.do(operation)
        play.judge(scratch)
        bench.close()
