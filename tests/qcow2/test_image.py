"""Whole images against a plain bytearray and against qemu-img."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmpd.block.drivers.formats.qcow2.clusters.read import read_clusters
from qmpd.block.drivers.formats.qcow2.clusters.resize import truncate
from qmpd.block.drivers.formats.qcow2.clusters.write import write_clusters, write_compressed
from qmpd.block.drivers.formats.qcow2.clusters.zero import pdiscard, pwrite_zeroes
from qmpd.block.drivers.formats.qcow2.snapshots.snapshots import (
    snapshot_create,
    snapshot_delete,
    snapshot_goto,
)
from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.errors import BlockIOError

from .fakes import close, create, open_node, run

needs_qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img here")
quick = settings(
    max_examples=int(os.environ.get("QCOW2_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def qemu_img(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True)


def check(path: Path) -> None:
    result = qemu_img("check", "-q", path)
    assert result.returncode == 0, qemu_img("check", path).stdout + result.stderr


@contextmanager
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("XDG_RUNTIME_DIR")) as name:
        yield Path(name)


@dataclass
class Model:
    """What the guest should read."""

    data: bytearray

    def compare(self, s: Qcow2State) -> None:
        assert s.size == len(self.data)
        assert run(read_clusters(s, 0, s.size)) == bytes(self.data)


def zero(s: Qcow2State, model: Model, offset: int, length: int, *, unmap: bool) -> None:
    """Write zeroes as the generic layer does: data where the driver cannot."""
    step = s.geometry.subcluster_size
    end = offset + length
    while offset < end:
        stop = min(end, (offset // step + 1) * step)
        if offset % step == 0 and end - offset >= step:
            stop = end // step * step
        try:
            run(pwrite_zeroes(s, offset, stop - offset, may_unmap=unmap))
        except BlockIOError:
            run(write_clusters(s, offset, bytes(stop - offset)))
        model.data[offset:stop] = bytes(stop - offset)
        offset = stop


def discard(s: Qcow2State, model: Model, offset: int, length: int) -> None:
    step = s.geometry.cluster_size
    start, stop = -(-offset // step) * step, (offset + length) // step * step
    if offset + length == s.size:
        stop = s.size
    if start < stop:
        try:
            run(pdiscard(s, start, stop - start))
        except BlockIOError:
            return
        model.data[start:stop] = bytes(stop - start)


def resize(s: Qcow2State, model: Model, size: int, *, zeroed: bool) -> None:
    try:
        run(truncate(s, size, exact=False, zero=zeroed))
    except BlockIOError as error:
        # A compressed cluster cannot be zeroed in part: QEMU fails as well.
        if error.desc != "Failed to zero out new clusters: Operation not supported":
            raise
        return
    del model.data[size:]
    model.data.extend(bytes(size - len(model.data)))


Operation = tuple[Any, ...]

geometries = st.fixed_dictionaries(
    {
        "cluster_size": st.sampled_from([512, 1024, 4096, 65536]),
        "refcount_bits": st.sampled_from([1, 2, 4, 8, 16, 32, 64]),
        "lazy_refcounts": st.booleans(),
    }
)
places = st.tuples(st.floats(0, 0.999), st.floats(0, 0.3))
operations = st.lists(
    st.one_of(
        st.tuples(st.just("write"), places, st.integers(1, 255)),
        st.tuples(st.just("write"), places, st.integers(1, 255)),
        st.tuples(st.just("zero"), places, st.booleans()),
        st.tuples(st.just("discard"), places),
        st.tuples(st.just("resize"), st.integers(1, 1200)),
        st.tuples(st.just("reopen")),
        st.tuples(st.just("compress"), places, st.integers(1, 255)),
    ),
    min_size=1,
    max_size=15,
)


def apply(s: Qcow2State, model: Model, operation: Operation, *, grow_zeroed: bool = True) -> None:
    name, *arguments = operation
    if name == "resize":
        resize(s, model, arguments[0] * 512, zeroed=grow_zeroed)
        return
    position, share = arguments[0]
    offset = int(position * s.size)
    length = min(int(share * s.size) + 1, s.size - offset)
    if length <= 0:
        return
    if name == "write":
        data = bytes([arguments[1]]) * length
        run(write_clusters(s, offset, data))
        model.data[offset : offset + length] = data
    elif name == "zero":
        zero(s, model, offset, length, unmap=arguments[1])
    elif name == "discard":
        discard(s, model, offset, length)
    elif name == "compress":
        step = s.geometry.cluster_size
        offset -= offset % step
        data = (bytes([arguments[1]]) * step)[: s.size - offset]
        try:
            run(write_compressed(s, offset, data))
        except BlockIOError:
            return
        model.data[offset : offset + len(data)] = data


def play(path: Path, model: Model, script: list[Operation], **kwargs: Any) -> None:
    s = open_node(path, **kwargs)
    for operation in script:
        if operation[0] == "reopen":
            close(s)
            s = open_node(path, **kwargs)
        else:
            apply(s, model, operation)
    model.compare(s)
    close(s)
    s = open_node(path, **kwargs)
    model.compare(s)
    close(s)


def judge(path: Path, model: Model) -> None:
    raw = path.with_suffix(".raw")
    raw.write_bytes(model.data)
    check(path)
    result = qemu_img("compare", "-f", "qcow2", "-F", "raw", path, raw)
    assert result.returncode == 0, result.stdout + result.stderr


@needs_qemu_img
@quick
@given(geometry=geometries, size=st.integers(1, 1000), script=operations)
def test_any_work_leaves_the_disk_as_a_bytearray(
    geometry: dict[str, Any], size: int, script: list[Operation]
) -> None:
    with directory() as where:
        path = where / "a.qcow2"
        create(path, size=size * 512, **geometry)
        model = Model(bytearray(size * 512))
        play(path, model, script)
        judge(path, model)


@needs_qemu_img
@quick
@given(size=st.integers(1, 1000), script=operations, extended=st.booleans())
def test_images_of_qemu_img(size: int, script: list[Operation], extended: bool) -> None:
    with directory() as where:
        path = where / "a.qcow2"
        option = "extended_l2=on,cluster_size=16k" if extended else "compat=0.10,cluster_size=1k"
        qemu_img("create", "-q", "-f", "qcow2", "-o", option, path, str(size * 512))
        model = Model(bytearray(size * 512))
        play(path, model, script)
        judge(path, model)


@needs_qemu_img
@quick
@given(
    size=st.integers(1, 700),
    below=st.integers(1, 700),
    script=operations,
    extended=st.booleans(),
    version=st.sampled_from(["v2", "v3"]),
)
def test_overlays(
    size: int, below: int, script: list[Operation], extended: bool, version: str
) -> None:
    extended = extended and version == "v3"
    with directory() as where:
        base, path = where / "base.qcow2", where / "a.qcow2"
        create(base, size=below * 512, cluster_size=1024)
        pattern = bytes(range(1, 256)) * (below * 512 // 255 + 1)
        s = open_node(base)
        run(write_clusters(s, 0, pattern[: below * 512]))
        close(s)
        options = {"cluster_size": 16384 if extended else 2048, "extended_l2": extended}
        create(
            path,
            size=size * 512,
            backing_file=str(base),
            backing_fmt="qcow2",
            version=version,
            **options,
        )
        model = Model(bytearray(pattern[: min(below, size) * 512].ljust(size * 512, b"\0")))
        under = open_node(base, read_only=True)
        if version == "v2":
            # Growing over a longer backing file has no zero clusters to do it with.
            script = [step for step in script if step[0] != "resize"]
        play(path, model, script, backing=under.node)
        close(under)
        judge(path, model)


@needs_qemu_img
@quick
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), places, st.integers(1, 255)),
            st.tuples(st.just("discard"), places),
            st.tuples(st.just("create")),
            st.tuples(st.just("goto"), st.integers(0, 9)),
            st.tuples(st.just("delete"), st.integers(0, 9)),
            st.tuples(st.just("resize"), st.integers(1, 600)),
        ),
        max_size=14,
    )
)
def test_internal_snapshots(script: list[Operation]) -> None:
    with directory() as where:
        path = where / "a.qcow2"
        create(path, size=300 * 512, cluster_size=512)
        model = Model(bytearray(300 * 512))
        kept: dict[str, bytes] = {}
        s = open_node(path)
        for name, *arguments in script:
            if name == "create":
                moment = snapshot_create(s, "s", date_sec=1, date_nsec=2, vm_clock_nsec=3)
                snapshot = run(moment)
                kept[snapshot.id.decode()] = bytes(model.data)
            elif name in ("goto", "delete"):
                if not kept:
                    continue
                ident = sorted(kept)[arguments[0] % len(kept)]
                if name == "goto":
                    run(snapshot_goto(s, ident))
                    model.data = bytearray(kept[ident])
                else:
                    run(snapshot_delete(s, ident, None))
                    del kept[ident]
            else:
                apply(s, model, (name, *arguments))
        model.compare(s)
        close(s)
        judge(path, model)
        for ident, data in kept.items():
            raw = where / "snapshot.raw"
            result = qemu_img("convert", "-l", f"snapshot.id={ident}", "-O", "raw", path, raw)
            if result.returncode == 0:
                assert raw.read_bytes()[: len(data)] == data[: len(raw.read_bytes())]


@needs_qemu_img
def test_a_freed_cluster_takes_no_more_compressed_data(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create(path, size=1 << 20)
    s = open_node(path)
    run(write_compressed(s, 0, b"\1" * 65536))
    run(write_clusters(s, 0, b"\2" * 65536))
    run(write_clusters(s, 65536, b"\3" * 65536))
    run(write_compressed(s, 131072, b"\4" * 65536))
    assert run(read_clusters(s, 0, 196608)) == b"".join(bytes([n]) * 65536 for n in (2, 3, 4))
    close(s)
    check(path)


@needs_qemu_img
def test_created_images_are_those_of_qemu_img(tmp_path: Path) -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("compat=1.1", {}),
        ("compat=0.10", {"version": "v2"}),
        ("cluster_size=512", {"cluster_size": 512}),
        ("cluster_size=2M", {"cluster_size": 2 << 20}),
        ("refcount_bits=1", {"refcount_bits": 1}),
        ("refcount_bits=64,lazy_refcounts=on", {"refcount_bits": 64, "lazy_refcounts": True}),
        ("extended_l2=on,cluster_size=128k", {"extended_l2": True, "cluster_size": 131072}),
        ("preallocation=metadata", {"preallocation": "metadata"}),
        (
            "preallocation=metadata,cluster_size=1k",
            {"preallocation": "metadata", "cluster_size": 1024},
        ),
        ("preallocation=falloc", {"preallocation": "falloc"}),
        ("compat=1.1", {"size": 1 << 44}),
    ]
    for option, options in cases:
        ours, theirs = tmp_path / "ours", tmp_path / "theirs"
        theirs.unlink(missing_ok=True)
        options = {"size": 5 << 20, **options}
        create(ours, **options)
        result = qemu_img("create", "-q", "-f", "qcow2", "-o", option, theirs, str(options["size"]))
        assert result.returncode == 0, result.stderr
        assert ours.read_bytes() == theirs.read_bytes(), option
