"""What the options that all nodes have say of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class CacheMode(NamedTuple):
    """How host caches are used: `direct` bypasses them, `no_flush` ignores flushes."""

    direct: bool = False
    no_flush: bool = False


class NodeFlags(NamedTuple):
    """The options that all nodes have, read (QEMU keeps them in ``open_flags``)."""

    read_only: bool = False
    auto_read_only: bool = False
    force_share: bool | None = None
    """None if nobody has said anything of it, which is what those below are told then."""
    unmap: bool = False
    """Whether discards are passed on (discard=unmap)."""
    detect_zeroes: str = "off"
    """What is done about writes of zeroes: off, on or unmap."""
    cache: CacheMode = CacheMode()
    active: bool = True
    aio: str | None = None
    """How a file at the bottom is read and written, unless it says so itself (``-drive aio=``)."""

    @classmethod
    def of_options(
        cls,
        options: Mapping[str, Any],
        *,
        active: bool = True,
        unmap: bool = False,
        aio: str | None = None,
    ) -> NodeFlags:
        """Those that `options` ask for.

        :param active: whether it may be; options cannot make it active where it may not
        :param unmap: what holds where the options say nothing of discards
        :param aio: no option, but handed down from node to node
        """
        cache = options.get("cache", {})
        return cls(
            read_only=options.get("read-only", False),
            auto_read_only=options.get("auto-read-only", False),
            force_share=options.get("force-share"),
            unmap=options["discard"] == "unmap" if "discard" in options else unmap,
            detect_zeroes=options.get("detect-zeroes", "off"),
            cache=CacheMode(cache.get("direct", False), cache.get("no-flush", False)),
            active=active and options.get("active", True),
            aio=aio,
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
