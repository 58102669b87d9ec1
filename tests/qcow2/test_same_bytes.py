"""The same requests to qemu-io and to this code leave the same bytes in the file."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .fakes import close, create, open_node
from .test_image import Model, apply, directory, places

pytestmark = pytest.mark.skipif(shutil.which("qemu-io") is None, reason="no qemu-io here")

scripts = st.lists(
    st.one_of(
        st.tuples(st.just("write"), places, st.integers(1, 255)),
        st.tuples(st.just("write"), places, st.integers(1, 255)),
        st.tuples(st.just("zero"), places, st.booleans()),
        st.tuples(st.just("discard"), places),
        st.tuples(st.just("resize"), st.integers(1, 6000)),
    ),
    min_size=1,
    max_size=12,
)


def commands(operation: tuple[Any, ...], size: int) -> tuple[tuple[Any, ...], str, int]:
    """An operation in sectors, as qemu-io's command, and the size afterwards."""
    name, *arguments = operation
    if name == "resize":
        return operation, f"truncate {arguments[0] * 512}", arguments[0] * 512
    position, share = arguments[0]
    offset = int(position * size) // 512 * 512
    length = min((int(share * size) // 512 + 1) * 512, size - offset)
    # `apply` computes offset and length from shares: give it ones that come out the same.
    exact = (name, ((offset + 0.5) / size, (length - 0.5) / size), *arguments[1:])
    command = {
        "write": lambda: f"write -P {arguments[1]} {offset} {length}",
        "zero": lambda: f"write -z {'-u ' if arguments[1] else ''}{offset} {length}",
        "discard": lambda: f"discard {offset} {length}",
    }[name]()
    return exact, command, size


@settings(
    max_examples=int(os.environ.get("QCOW2_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    cluster_size=st.sampled_from([512, 4096, 65536]),
    refcount_bits=st.sampled_from([1, 16, 64]),
    version=st.sampled_from(["v2", "v3", "v3", "extended"]),
    lazy=st.booleans(),
    size=st.integers(1, 5000),
    script=scripts,
)
def test_same_bytes(
    cluster_size: int,
    refcount_bits: int,
    version: str,
    lazy: bool,
    size: int,
    script: list[tuple[Any, ...]],
) -> None:
    options: dict[str, Any] = {
        "cluster_size": 16384 if version == "extended" else cluster_size,
        "refcount_bits": 16 if version == "v2" else refcount_bits,
        "version": "v2" if version == "v2" else "v3",
        "extended_l2": version == "extended",
        "lazy_refcounts": lazy and version != "v2",
    }
    with directory() as where:
        ours, theirs = where / "ours", where / "theirs"
        create(ours, size=size * 512, **options)
        shutil.copy(ours, theirs)
        s = open_node(ours, unmap=True)
        model = Model(bytearray(size * 512))
        arguments = []
        length = size * 512
        for operation in script:
            exact, command, length = commands(operation, length)
            arguments += ["-c", command]
            apply(s, model, exact, grow_zeroed=False)
        close(s)
        play_there(theirs, arguments)
        assert ours.stat().st_size == theirs.stat().st_size, arguments
        assert ours.read_bytes() == theirs.read_bytes(), arguments


@settings(
    max_examples=int(os.environ.get("QCOW2_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    cluster_size=st.sampled_from([512, 4096, 65536]),
    extended=st.booleans(),
    size=st.integers(1, 2000),
    below=st.integers(1, 2000),
    base_script=scripts,
    script=scripts,
)
def test_same_bytes_of_overlays(
    cluster_size: int,
    extended: bool,
    size: int,
    below: int,
    base_script: list[tuple[Any, ...]],
    script: list[tuple[Any, ...]],
) -> None:
    with directory() as where:
        base, ours, theirs = where / "base", where / "ours", where / "theirs"
        create(base, size=below * 512, cluster_size=2048)
        s = open_node(base)
        length = below * 512
        for operation in base_script:
            exact, _, length = commands(operation, length)
            apply(s, Model(bytearray(s.size)), exact, grow_zeroed=False)
        close(s)
        create(
            ours,
            size=size * 512,
            cluster_size=16384 if extended else cluster_size,
            extended_l2=extended,
            backing_file=str(base),
            backing_fmt="qcow2",
        )
        shutil.copy(ours, theirs)
        under = open_node(base, read_only=True)
        s = open_node(ours, unmap=True, backing=under.node)
        model = Model(bytearray(size * 512))
        arguments = []
        length = size * 512
        for operation in script:
            exact, command, length = commands(operation, length)
            arguments += ["-c", command]
            # Where the backing file is longer what is added must hide it.
            apply(s, model, exact, grow_zeroed=s.size < under.size)
        close(s)
        close(under)
        play_there(theirs, arguments)
        assert ours.read_bytes() == theirs.read_bytes(), arguments


def play_there(path: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        ["qemu-io", "-f", "qcow2", *arguments, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
