#!/usr/bin/env python3
"""Requests in the form in which QEMU 10.0's docs/interop/bitmaps.rst prints them, sent to a server.

printed_requests.py SOCKET
"""

from __future__ import annotations

import json
import socket
import sys

REQUESTS = {
    "creation": """
        {"execute": "block-dirty-bitmap-add", "arguments": {"node": "disk0", "name": "b",}}
    """,
    "removal of the target": '{"execute": "blockdev-del", "arguments": {"node-name": "t",}}',
    "backup of several drives": """
        {"execute": "transaction", "arguments": {"actions": [{"type": "blockev-backup", "data":
        {"device": "disk0", "bitmap": "b", "sync": "incremental", "target": "t"}}]}}
    """,
}


def main(path: str) -> None:
    """Send each, and print the error."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        answers = map(json.loads, client.makefile("rb"))
        next(answers)
        client.sendall(b'{"execute": "qmp_capabilities"}')
        next(answers)
        for example, request in REQUESTS.items():
            client.sendall(request.encode() + b"\n")
            print(f"{example}: {next(answers)['error']['desc']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
