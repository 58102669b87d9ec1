#!/bin/sh
# QMP with nothing but a socket: raw lines through socat, or nc where there is no socat.
# Usage: raw_lines.sh SOCKET
set -eu

requests() {
    cat <<'END'
{"execute": "qmp_capabilities"}
{'execute': 'query-status', 'id': 1} {"execute": "query-version", "id": 2}
{"execute": "no-such-command", "id": {"any": ["JSON", "value"]}}
END
    sleep 1
}

if command -v socat >/dev/null; then
    requests | socat - "UNIX-CONNECT:$1"
else
    requests | nc -U "$1"
fi
