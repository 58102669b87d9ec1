"""HMP commands that later versions of QEMU no longer have."""

from __future__ import annotations

from typing import Final

from qmpd.monitor.hmp.command_table import HmpCommand, with_same_arguments
from qmpd.monitor.hmp.line import Kind, Parameter

FORMER: Final = (
    HmpCommand(
        "block_passwd",
        None,
        (Parameter("device", Kind.BLOCK_DEVICE), Parameter("password", Kind.STRING)),
        "device password",
        "give a disk its password",
        with_same_arguments("block_passwd"),
    ),
    HmpCommand(
        "migrate_set_speed",
        None,
        (Parameter("value", Kind.SIZE),),
        "value",
        "limit the speed of migrations",
        with_same_arguments("migrate_set_speed"),
    ),
    HmpCommand(
        "migrate_set_downtime",
        None,
        (Parameter("value", Kind.SECONDS),),
        "value",
        "limit how long the guest stands still",
        with_same_arguments("migrate_set_downtime"),
    ),
    HmpCommand(
        "migrate_set_cache_size",
        None,
        (Parameter("value", Kind.SIZE),),
        "value",
        "set the size of the cache of xbzrle",
        with_same_arguments("migrate-set-cache-size"),
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
