"""Limits on I/O: what a throttle group or a throttled drive may be told.

A `ThrottleConfig` holds six leaky buckets (bytes and operations; total, read
and write) as QEMU does; `check` refuses what QEMU refuses, in its order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from qmpd.errors import GenericError

THROTTLE_VALUE_MAX: Final = 1_000_000_000_000_000
"""Largest rate or burst rate, per second."""

BUCKETS: Final = (
    "bps-total",
    "bps-read",
    "bps-write",
    "iops-total",
    "iops-read",
    "iops-write",
)
"""The buckets, in the order in which they are checked."""

BURST_LENGTH_MAX: Final = 0xFFFF_FFFF


@dataclass(slots=True)
class Bucket:
    """One limit: `avg` and `max` per second (0: none), bursts last `burst_length` seconds."""

    avg: int = 0
    max: int = 0
    burst_length: int = 1


@dataclass(slots=True)
class ThrottleConfig:
    """All limits of one throttle group.

    `op_size` is the size in bytes from which one request counts as several, 0 for never.
    """

    buckets: dict[str, Bucket] = field(default_factory=lambda: {name: Bucket() for name in BUCKETS})
    op_size: int = 0

    @property
    def enabled(self) -> bool:
        """Whether anything is limited at all."""
        return any(bucket.avg for bucket in self.buckets.values())

    def update(self, limits: Mapping[str, int]) -> None:
        """Take over members of QAPI's ThrottleLimits (``iops-total-max``, ``iops-size``...).

        :raises GenericError: a value out of its range
        """
        for name, bucket in self.buckets.items():
            bucket.avg = limits.get(name, bucket.avg)
            bucket.max = limits.get(f"{name}-max", bucket.max)
            length = limits.get(f"{name}-max-length", bucket.burst_length)
            if length > BURST_LENGTH_MAX:
                raise GenericError(
                    f"{name}-max-length value must be in the range [0, {BURST_LENGTH_MAX}]"
                )
            bucket.burst_length = length & 0xFFFF_FFFF_FFFF_FFFF
        self.op_size = limits.get("iops-size", self.op_size)

    def check(self) -> None:
        """Refuse limits that contradict each other or are out of range.

        :raises GenericError: with QEMU's text for the first problem
        """
        for kind in ("bps", "iops"):
            total, read, write = (
                self.buckets[f"{kind}-{part}"] for part in ("total", "read", "write")
            )
            if (total.avg and (read.avg or write.avg)) or (total.max and (read.max or write.max)):
                raise GenericError(
                    "bps/iops/max total values and read/write values"
                    " cannot be used at the same time"
                )
        if self.op_size and not any(
            self.buckets[f"iops-{part}"].avg for part in ("total", "read", "write")
        ):
            raise GenericError("iops size requires an iops value to be set")
        for bucket in self.buckets.values():
            _check_bucket(bucket)


def _check_bucket(bucket: Bucket) -> None:
    if not 0 <= bucket.avg <= THROTTLE_VALUE_MAX or not 0 <= bucket.max <= THROTTLE_VALUE_MAX:
        raise GenericError(f"bps/iops/max values must be within [0, {THROTTLE_VALUE_MAX}]")
    if not bucket.burst_length:
        raise GenericError("the burst length cannot be 0")
    if bucket.burst_length > 1 and not bucket.max:
        raise GenericError("burst length set without burst rate")
    if bucket.max and bucket.burst_length > THROTTLE_VALUE_MAX // bucket.max:
        raise GenericError("burst length too high for this burst rate")
    if bucket.max and not bucket.avg:
        raise GenericError("bps_max/iops_max require corresponding bps/iops values")
    if bucket.max and bucket.max < bucket.avg:
        raise GenericError("bps_max/iops_max cannot be lower than bps/iops")


LIMIT_NAMES: Final = (
    *(name for bucket in BUCKETS for name in (bucket, f"{bucket}-max", f"{bucket}-max-length")),
    "iops-size",
)
"""Members of QAPI's ThrottleLimits."""


def limits_of(config: ThrottleConfig) -> dict[str, int]:
    """The limits as QAPI's ThrottleLimits, all members."""
    limits: dict[str, int] = {}
    for name, bucket in config.buckets.items():
        limits[name] = bucket.avg
        limits[f"{name}-max"] = bucket.max
        limits[f"{name}-max-length"] = bucket.burst_length
    limits["iops-size"] = config.op_size
    return limits
