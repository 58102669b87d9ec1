"""HMP commands that later versions of QEMU no longer have."""

from __future__ import annotations

from typing import Final

from qmpd.monitor.hmp.command_table import HmpCommand
from qmpd.monitor.hmp.line import Kind, Parameter

FORMER: Final = (
    HmpCommand(
        "block_passwd",
        None,
        (Parameter("device", Kind.BLOCK_DEVICE), Parameter("password", Kind.STRING)),
        "device password",
        "give a disk its password",
        lambda _, arguments: ("block_passwd", arguments),
    ),
    HmpCommand(
        "migrate_set_speed",
        None,
        (Parameter("value", Kind.SIZE),),
        "value",
        "limit the speed of migrations",
        lambda _, arguments: ("migrate_set_speed", arguments),
    ),
    HmpCommand(
        "migrate_set_downtime",
        None,
        (Parameter("value", Kind.SECONDS),),
        "value",
        "limit how long the guest stands still",
        lambda _, arguments: ("migrate_set_downtime", arguments),
    ),
    HmpCommand(
        "migrate_set_cache_size",
        None,
        (Parameter("value", Kind.SIZE),),
        "value",
        "set the size of the cache of xbzrle",
        lambda _, arguments: ("migrate-set-cache-size", arguments),
    ),
)
"""The commands."""

FORMER_INFO: Final = (
    HmpCommand(
        "migrate_cache_size",
        None,
        summary="show the size of the cache of xbzrle",
        request=lambda *_: ("query-migrate-cache-size", {}),
        show=lambda value: f"xbzrel cache size: {value >> 10} kbytes\n",
    ),
)
"""Subcommands of info."""
