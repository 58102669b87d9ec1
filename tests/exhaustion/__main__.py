"""``python -m tests.exhaustion [WORD...]``: how long others wait, in the cases with such words."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.exhaustion.beside import Daemon
from tests.exhaustion.cases import PARSED, WORKED_ON

print(f"{'':28} {'took':>8} {'others':>8} {'their own':>9} {'peak':>5}  (s, ms, ms, MiB)")
for name, case in {**PARSED, **WORKED_ON}.items():
    if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
        continue
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder), "--disk", "disk0=2G", "--storage", "host")
        client = daemon.client()
        client.execute("human-monitor-command", command_line="info status")
        request = case(client, 1.0) if name in WORKED_ON else None
        with daemon.watch() as watch:
            begin = time.monotonic()
            if request is None:
                case(client, 1.0)
            else:
                client.ask(request)
            took = time.monotonic() - begin
        figures = f"{took:8.2f} {1e3 * watch.worst:8.1f} {1e3 * watch.own:9.1f}"
        print(f"{name:28} {figures} {daemon.peak >> 20:5}", flush=True)
        client.close()
        daemon.end()
