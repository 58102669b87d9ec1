"""``python -m qmpd.cli.health SOCKET``: is the daemon there, and does it speak QMP?"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from io import BufferedRWPair
from typing import Any


def _request(stream: BufferedRWPair[Any, Any], request: dict[str, Any]) -> Any:
    stream.write(json.dumps(request).encode() + b"\n")
    stream.flush()
    while True:
        reply = json.loads(stream.readline())
        if "event" not in reply:
            return reply


def check(path: str, timeout: float = 2.0) -> str:
    """Greet the monitor at unix socket `path` and ask for its version.

    :param timeout: seconds to wait for each answer
    :returns: the version, as ``major.minor.micro``
    :raises OSError: nobody listens there, or does not answer in time
    :raises ValueError: what answers is not QMP
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        client.connect(path)
        with client.makefile("rwb") as stream:
            if "QMP" not in json.loads(stream.readline()):
                raise ValueError("no QMP greeting")
            _request(stream, {"execute": "qmp_capabilities"})
            version = _request(stream, {"execute": "query-version"})["return"]["qemu"]
    return "{major}.{minor}.{micro}".format(**version)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the version and return 0, or say what is wrong and return 1."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        print("usage: python -m qmpd.cli.health SOCKET", file=sys.stderr)
        return 2
    try:
        print(check(arguments[0]))
    except (OSError, ValueError, KeyError) as error:
        print(f"unhealthy: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
