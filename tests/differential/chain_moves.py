"""What may be done to a chain; nodes are numbers, counted from the top of the chain."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.backup.program import CLUSTER
from tests.differential.chain_program import BLOCK, CLUSTERS

DISKS = 2
disks = st.integers(0, DISKS - 1)
places = st.integers(0, 5)
clusters = st.integers(0, CLUSTERS - 1)
jobs = st.integers(0, 2)
policies = st.sampled_from(["report", "report", "stop", "enospc", "auto"])
"""Not "ignore": a job that ignores an error that stays tells of it for ever."""


def sometimes(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One of `values`, or mostly None."""
    return st.one_of(st.none(), st.none(), values)


def given(**members: Any) -> dict[str, Any]:
    """Those that are not None; dashes for underscores."""
    return {name.replace("_", "-"): value for name, value in members.items() if value is not None}


@st.composite
def guest_writes(draw: st.DrawFn) -> tuple[str, int, int, int]:
    """A command of qemu-io, offset and length in blocks, and the byte; within one cluster."""
    blocks = CLUSTER // BLOCK
    start = draw(st.sampled_from([0, 0, 0, 5]))
    length = draw(st.sampled_from([blocks - start, blocks - start, 1]))
    command = draw(
        st.sampled_from(["write", "write", "write", "write -z", "write -z -u", "discard"])
    )
    byte = draw(st.integers(16, 250)) if command == "write" else 0
    return command, draw(clusters) * blocks + start, length, byte


@st.composite
def faults(draw: st.DrawFn) -> dict[str, Any] | None:
    """What blkdebug does to an image, if anything."""
    if draw(st.integers(0, 2)):
        return None
    error = draw(st.sampled_from([5, 28]))
    if draw(st.booleans()):
        return {"event": "write_aio", "errno": error, "once": draw(st.booleans())}
    sector = draw(clusters) * CLUSTER // 512
    return {
        "event": "none",
        "iotype": "write",
        "errno": error,
        "sector": sector,
        "once": draw(st.booleans()),
    }


@st.composite
def snapshots(draw: st.DrawFn) -> dict[str, Any]:
    """An external snapshot: of which disk, by which name, and what goes wrong."""
    return {
        "disk": draw(disks),
        "place": draw(st.sampled_from([None, None, None, 0, 0, 1])),
        "wrong": draw(
            st.sampled_from(
                [
                    *[None] * 8,
                    *("directory", "existing", "missing", "format", "raw", "not-qcow2", "busy"),
                    *("name", "unnamed"),
                ]
            )
        ),
        "named": draw(st.sampled_from([True, True, True, False])),
        "blockdev": draw(st.booleans()),
        "fault": draw(faults()),
    }


@st.composite
def job_options(draw: st.DrawFn) -> dict[str, Any]:
    """What all jobs take."""
    return given(
        job_id=draw(st.sampled_from(["j0", "j1", "j2"])),
        speed=draw(st.sampled_from([0, 1, 1])),
        auto_finalize=draw(sometimes(st.booleans())),
        auto_dismiss=draw(sometimes(st.booleans())),
        filter_node_name=draw(sometimes(st.sampled_from(["flt", "flt2"]))),
    )


@st.composite
def commits(draw: st.DrawFn) -> dict[str, Any]:
    """A block-commit; `top` and `base` are places."""
    return {
        "disk": draw(disks),
        "by_file": draw(st.booleans()),
        "sorted": draw(st.sampled_from([True, True, True, False])),
        "top": draw(st.one_of(st.none(), places)),
        "base": draw(st.one_of(st.none(), places)),
        "options": {
            **draw(job_options()),
            **given(
                backing_file=draw(sometimes(st.just("@/other"))),
                backing_mask_protocol=draw(sometimes(st.booleans())),
                on_error=draw(policies),
            ),
        },
    }


@st.composite
def streams(draw: st.DrawFn) -> dict[str, Any]:
    """A block-stream; `device` and `below` are places."""
    options = draw(job_options())
    # QEMU dies of queries while a stream is kept that has ended: its filter has no child.
    options.pop("auto-dismiss", None)
    return {
        "disk": draw(disks),
        "device": draw(st.sampled_from([None, None, 0, 1, 2])),
        "below": draw(st.one_of(st.none(), places)),
        "how": draw(st.sampled_from(["base", "base-node", "bottom"])),
        "options": {
            **options,
            **given(
                backing_file=draw(sometimes(st.just("@/other"))),
                backing_mask_protocol=draw(sometimes(st.booleans())),
                on_error=draw(policies),
            ),
        },
    }


@st.composite
def mirrors(draw: st.DrawFn) -> dict[str, Any]:
    """A mirror, by either command."""
    return {
        "disk": draw(disks),
        "drive": draw(st.integers(0, 3)) == 0,
        "driver": draw(st.sampled_from(["raw", "qcow2", "qcow2"])),
        "fault": draw(faults()),
        "short": draw(st.integers(0, 9)) == 0,
        "replaces": draw(sometimes(places)),
        "options": {
            **draw(job_options()),
            **given(
                sync=draw(st.sampled_from(["full", "full", "full", "top", "top", "none"])),
                granularity=draw(sometimes(st.sampled_from([4096, 65536, 131072, 1000, 256]))),
                buf_size=draw(st.sampled_from([CLUSTER, CLUSTER, 4 * CLUSTER, None])),
                copy_mode=draw(sometimes(st.sampled_from(["background", "write-blocking"]))),
                unmap=draw(sometimes(st.booleans())),
                on_source_error=draw(policies),
                on_target_error=draw(policies),
            ),
        },
    }
