#!/usr/bin/env python3
"""Requests that end QEMU 10.0.2, each sent to a fresh process; what came back, or how it died.

requests_that_end_qemu.py qemu-system-x86_64
requests_that_end_qemu.py qmpd-system
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

Json = dict[str, Any]
DRIVE = "if=none,id=drive0,driver=null-co,size=1M,node-name=node0"


def backup(job_id: str, target: str) -> Json:
    """An action that backs the drive up."""
    data = {"job-id": job_id, "device": "drive0", "target": target, "sync": "full"}
    return {"type": "blockdev-backup", "data": data}


BITMAP = ("block-dirty-bitmap-add", {"node": "node0", "name": "b0"})
TARGETS = [
    ("blockdev-add", {"driver": "null-co", "node-name": name, "size": 1 << 20})
    for name in ("t0", "t1")
]
ENABLE = {"type": "block-dirty-bitmap-enable", "data": {"node": "node0", "name": "nope"}}

SESSIONS: dict[str, list[tuple[str, Json]]] = {
    "merge no bitmaps": [
        BITMAP,
        ("block-dirty-bitmap-merge", {"node": "node0", "target": "b0", "bitmaps": []}),
    ],
    "enable no bitmap": [("transaction", {"actions": [ENABLE]})],
    "reopen nothing": [("blockdev-reopen", {"options": []})],
    "a size below zero": [
        ("blockdev-add", {"driver": "null-co", "node-name": "n", "size": -1}),
    ],
    "two backups of a drive": [
        *TARGETS,
        ("transaction", {"actions": [backup("j0", "t0"), backup("j1", "t1")]}),
    ],
}


def ask(program: str, requests: list[tuple[str, Json]]) -> str:
    """What a new process of `program` says to the last of some requests, or how it died."""
    machine = ["-machine", "none", "-nodefaults", "-display", "none", "-drive", DRIVE]
    process = subprocess.Popen(
        [program, *machine, "-qmp", "stdio"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    sent = [("qmp_capabilities", {}), *requests]
    for command, arguments in sent:
        process.stdin.write(json.dumps({"execute": command, "arguments": arguments}))
    process.stdin.flush()
    messages = map(json.loads, process.stdout)
    answers = [next(messages)]  # the greeting
    for message in messages:
        if "event" not in message:
            answers.append(message)
        if len(answers) > len(sent):
            process.kill()
            process.wait()
            return json.dumps(answers[-1])
    return f"dies: {signal.Signals(-process.wait()).name}"


def main(program: str) -> None:
    """Send each, and print what happens."""
    for name, requests in SESSIONS.items():
        print(f"{name}: {ask(program, requests)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
