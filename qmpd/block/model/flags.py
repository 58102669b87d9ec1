"""What the options that all nodes have say of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qmpd.block.model.data import CacheMode


@dataclass
class NodeFlags:
    """The options of all nodes, read."""

    read_only: bool
    auto_read_only: bool
    force_share: bool
    unmap: bool
    detect_zeroes: str
    cache: CacheMode
    active: bool

    @classmethod
    def of_options(cls, options: Mapping[str, Any]) -> NodeFlags:
        """Those that `options` ask for."""
        cache = options.get("cache", {})
        return cls(
            options.get("read-only", False),
            options.get("auto-read-only", False),
            options.get("force-share", False),
            options.get("discard", "ignore") == "unmap",
            options.get("detect-zeroes", "off"),
            CacheMode(cache.get("direct", False), cache.get("no-flush", False)),
            options.get("active", True),
        )


@dataclass(kw_only=True)
class ReopenState:
    """One node on its way to other options, as its driver sees it (QEMU's BDRVReopenState)."""

    options: dict[str, Any]
    """The whole new set of options."""
    flags: NodeFlags
    """What the common ones among them say."""
    before: NodeFlags
    """What the node had before."""
    data: Any = field(default=None)
    """The driver's own, from `reopen_prepare` to `reopen_commit` or `reopen_abort`."""
