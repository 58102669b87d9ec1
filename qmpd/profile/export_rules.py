"""Where versions of QEMU differ in what they export (`qmpd.profile.rules`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from qmpd.profile.rule import Rule, Touch, line

EXPORT_RULES: Final[Sequence[Rule]] = (
    Rule(
        "nbd-extended-headers",
        "The NBD server offers extended headers",
        "seen on 10.0, not on 7.2; ChangeLog/8.2",
        first=(10, 0),
    ),
    Rule(
        "nbd-answers-bad-magic",
        "An NBD request with a wrong magic number is answered before the client is disconnected",
        "seen on 7.2, not on 5.2",
        first=(7, 2),
    ),
    Rule(
        "nbd-handshake-limit",
        "NBD clients that have not chosen an export after 10 seconds are disconnected",
        "seen on 7.2 as distributed, not on 5.2",
        first=(7, 2),
        touches=("nbd-server-start",),
    ),
    Rule(
        "nbd-connection-limit",
        "The NBD server has 100 clients at a time if it is not told, the others wait",
        "seen on 7.2 as distributed, not on 5.2",
        first=(7, 2),
        touches=("nbd-server-start",),
    ),
    Rule(
        "nbd-lists-early",
        "Metadata contexts are listed also for NBD clients without structured replies",
        "seen on 7.2, not on 5.2",
        first=(7, 2),
    ),
    Rule(
        "nbd-writable-multi-conn",
        "NBD clients may use several connections to a writable export",
        "seen on 7.2, not on 5.2; ChangeLog/7.1",
        first=(7, 2),
        touches=(
            Touch("block-export-add.writable", "^true$"),
            Touch("nbd-server-add.writable", "^true$"),
            line("nbd_server_add +-w|nbd_server_start +-[aw]*w[aw]*"),
        ),
    ),
    Rule(
        "exports-go-later",
        "An export is gone when its deletion has been answered",
        "seen on 5.2, not on 7.2",
        last=(5, 2),
        touches=("block-export-del", "nbd-server-remove"),
    ),
)
"""All of them."""

ExportName = Literal[
    "exports-go-later",
    "nbd-answers-bad-magic",
    "nbd-connection-limit",
    "nbd-extended-headers",
    "nbd-handshake-limit",
    "nbd-lists-early",
    "nbd-writable-multi-conn",
]
"""The names of rules that are asked for."""
