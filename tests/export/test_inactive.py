"""Exports of nodes that are inactive, or become so: the same at qmpd and at QEMU's daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.export.vhost_pair import Exporter, running, same


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("kind", ["nbd", "nbd, inactive", "vhost-user-blk"])
def test_activity(tmp_path: Path, kind: str, writable: bool) -> None:
    def work(exporter: Exporter) -> list[Any]:
        def is_active() -> list[bool]:
            return [node["active"] for node in exporter.do("query-named-block-nodes")]

        seen: list[Any] = []
        for before in (False, True):
            exporter.do("blockdev-set-active", active=before)
            if kind == "vhost-user-blk":
                said = exporter.export(writable=writable)
            else:
                options = {"allow_inactive": True} if "inactive" in kind else {}
                node = {"id": "v", "node_name": "n", "writable": writable, **options}
                said = exporter.do("block-export-add", type="nbd", **node)
            seen += [said, is_active()]
            seen += [exporter.do("blockdev-set-active", node_name="n", active=False), is_active()]
            seen += [exporter.do("blockdev-set-active", active=True), is_active()]
            seen += [exporter.do("block-export-del", id="v")]
        return seen

    with running(tmp_path, "--nbd-server", "addr.type=unix,addr.path=@/nbd.sock") as exporters:
        same(exporters, work)
