"""What a hostile client asks for that takes long, each as bytes of QMP."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.exhaustion import images
from tests.exhaustion.beside import Client

Case = Callable[[Client, float], bytes]
"""Asks for it, and returns the answer; the number says how much of it, 1 for all."""

ESCAPE: Final = b"\\u00e9"


def hmp(line: str) -> bytes:
    """A request that runs a line of the human monitor."""
    return request("human-monitor-command", {"command-line": line})


def request(command: str, arguments: Mapping[str, object]) -> bytes:
    """A request's bytes."""
    return json.dumps({"execute": command, "arguments": arguments}).encode()


def ask(client: Client, command: str, **arguments: object) -> bytes:
    """The answer to a command."""
    return client.ask(request(command, arguments))


def _with_id(client: Client, value: bytes) -> bytes:
    return client.ask(b'{"execute": "query-status", "id": ' + value + b"}")


def _escapes(client: Client, part: float) -> bytes:
    return _with_id(client, b'"' + ESCAPE * int(part * (10 << 20)) + b'"')


def _string(client: Client, part: float) -> bytes:
    return _with_id(client, b'"' + b"x" * int(part * (63 << 20)) + b'"')


def _letters(client: Client, part: float) -> bytes:
    return _with_id(client, b'"' + "é".encode() * int(part * (31 << 20)) + b'"')


def _too_long(client: Client, part: float) -> bytes:
    return _with_id(client, b'"' + b"x" * int(part * (100 << 20)) + b'"')


def _numbers(client: Client, part: float) -> bytes:
    return _with_id(client, b"[" + b"1," * int(part * 1e6) + b"1]")


def _number_arguments(client: Client, part: float) -> bytes:
    numbers = b"1," * int(part * 1e6)
    return client.ask(b'{"execute": "query-status", "arguments": {"a": [' + numbers + b"1]}}")


def _members(client: Client, part: float) -> bytes:
    members = b",".join(b'"%d": 1' % number for number in range(int(part * 5e5)))
    return client.ask(b'{"execute": "blockdev-add", "arguments": {' + members + b"}}")


def _brackets(client: Client, part: float) -> bytes:
    return client.ask(b"[" * int(part * 1e6) + b"\xff")


def _braces(client: Client, part: float) -> bytes:
    return client.ask(b'{"a":' * int(part * 1e5) + b"\xff")


def _blanks(client: Client, part: float) -> bytes:
    return client.ask(b" " * int(part * (60 << 20)) + b'{"execute": "query-status"}')


def _drive_commas(client: Client, part: float) -> bytes:
    return client.ask(hmp("drive_add 0 " + "," * int(part * 1e6)))


def _device_options(client: Client, part: float) -> bytes:
    return client.ask(hmp("device_add " + "=," * int(part * 1e6)))


def _object_options(client: Client, part: float) -> bytes:
    options = ",".join(f"a.{number}=1" for number in range(int(part * 1e5)))
    return client.ask(hmp(f"object_add throttle-group,id=x,{options}"))


def _chardev_options(client: Client, part: float) -> bytes:
    return client.ask(hmp("chardev-add " + "=," * int(part * 5e5)))


def _words(client: Client, part: float) -> bytes:
    return client.ask(hmp('qemu-io disk0 "' + "read " * int(part * 1e6) + '"'))


def _unknown_line(client: Client, part: float) -> bytes:
    return client.ask(hmp("info " + "x" * int(part * 1e7)))


def _long_name(client: Client, part: float) -> bytes:
    return _with_id(client, b'{"' + b"x" * int(part * (60 << 20)) + b'": 1}')


def _option_name(client: Client, part: float) -> bytes:
    name = "x" * int(part * (60 << 20))
    return ask(client, "blockdev-add", **{"driver": "null-co", "node-name": "n", name: 1})


def _qom_path(client: Client, part: float) -> bytes:
    return ask(client, "qom-list", path="/a" * int(part * (20 << 20)))


def _base64(client: Client, part: float) -> bytes:
    backend = {"type": "ringbuf", "data": {"size": 1 << 26}}
    ask(client, "chardev-add", id="ring", backend=backend)
    text = "eHh4" * int(part * (15 << 20))
    ask(client, "ringbuf-write", device="ring", data=text, format="base64")
    return ask(client, "ringbuf-read", device="ring", size=1 << 26)


def _transaction(client: Client, part: float) -> bytes:
    actions = [
        {"type": "block-dirty-bitmap-add", "data": {"node": "disk0", "name": f"b{number}"}}
        for number in range(int(part * 9900))
    ]
    return json.dumps({"execute": "transaction", "arguments": {"actions": actions}}).encode()


def _failing_transaction(client: Client, part: float) -> bytes:
    return _transaction(client, part).replace(b"]}}", b', {"type": "abort", "data": {}}]}}')


def _persistent_bitmaps(client: Client, part: float) -> bytes:
    for number, options in enumerate(
        (
            {"driver": "file", "filename": "image", "size": 0},
            {"driver": "qcow2", "file": "file", "size": 1 << 26},
        )
    ):
        client.execute("blockdev-create", job_id=f"create{number}", options=options)
        while b"concluded" not in ask(client, "query-jobs"):
            pass
        client.execute("job-dismiss", id=f"create{number}")
        if number == 0:
            client.execute("blockdev-add", driver="file", node_name="file", filename="image")
    client.execute("blockdev-add", driver="qcow2", node_name="image", file="file")
    names = [f"b{number}" for number in range(int(part * 9900))]
    data = [{"node": "image", "name": name, "persistent": True} for name in names]
    actions = [{"type": "block-dirty-bitmap-add", "data": each} for each in data]
    return request("transaction", {"actions": actions})


def _stored_bitmaps(client: Client, part: float) -> bytes:
    client.ask(_persistent_bitmaps(client, part))
    client.execute("blockdev-del", node_name="image")
    return request("blockdev-add", {"driver": "qcow2", "node-name": "image", "file": "file"})


def _closed_with_bitmaps(client: Client, part: float) -> bytes:
    client.ask(_persistent_bitmaps(client, part))
    return request("blockdev-del", {"node-name": "image"})


def _removed_bitmaps(client: Client, part: float) -> bytes:
    client.ask(_stored_bitmaps(client, part / 5))
    client.execute("blockdev-add", driver="qcow2", node_name="image", file="file")
    data = [{"node": "image", "name": f"b{number}"} for number in range(int(part * 1980))]
    actions = [{"type": "block-dirty-bitmap-remove", "data": each} for each in data]
    return request("transaction", {"actions": actions})


def _hash(client: Client, part: float) -> bytes:
    client.execute("blockdev-add", driver="null-co", node_name="huge", size=int(part * (1 << 44)))
    client.execute("block-dirty-bitmap-add", node="huge", name="b", granularity=512)
    return request("x-debug-block-dirty-bitmap-sha256", {"node": "huge", "name": "b"})


def _opened(make: Callable[[Path, int], None], most: int) -> Case:
    """Opens an image that `make` makes, of so many things."""

    def case(client: Client, part: float) -> bytes:
        folder = Path(client.socket.getpeername()).parent
        for name, count in (("small", 100), ("long", int(part * most))):
            make(folder / name, count)
        # what has to be imported is there
        answer = client.ask(_add_qcow2("small"))
        assert b"return" in answer, answer
        client.execute("blockdev-del", node_name="small")
        return _add_qcow2("long")

    return case


def _add_qcow2(name: str) -> bytes:
    file = {"driver": "file", "filename": name}
    return request("blockdev-add", {"driver": "qcow2", "node-name": name, "file": file})


def _internal_snapshot(client: Client, part: float) -> bytes:
    client.ask(_opened(images.not_closed, 26000)(client, part))
    return request("blockdev-snapshot-internal-sync", {"device": "long", "name": "snapshot"})


def _exports(client: Client, part: float) -> bytes:
    path = str(Path(client.socket.getpeername()).parent / "nbd")
    address = {"type": "unix", "data": {"path": path}}
    client.execute("nbd-server-start", addr=address, max_connections=0)
    client.execute("blockdev-add", driver="null-co", node_name="n")
    for number in range(int(part * 1500)):
        name = f"export{number}"
        answer = client.execute("block-export-add", type="nbd", id=name, node_name="n", name=name)
        assert answer == {"return": {}}
    return request("block-export-add", {"type": "nbd", "id": "last", "node-name": "n"})


def _named_nodes(client: Client, part: float) -> bytes:
    for number in range(int(part * 5000)):
        client.execute("blockdev-add", driver="null-co", node_name=f"n{number}")
    return b'{"execute": "query-named-block-nodes"}'


def _backends(client: Client, part: float) -> bytes:
    for number in range(int(part * 5000)):
        client.ask(hmp(f"drive_add 0 if=none,id=d{number},driver=null-co"))
    return b'{"execute": "query-block"}'


def _io(line: str) -> Case:
    def case(client: Client, part: float) -> bytes:
        client.ask(hmp('qemu-io disk0 "write 0 1M"'))
        return hmp(f'qemu-io disk0 "{line} 0 {int(part * (1 << 30))}"')

    return case


PARSED: Final[Mapping[str, Case]] = {
    "escapes": _escapes,
    "a string": _string,
    "letters": _letters,
    "a string that is too long": _too_long,
    "numbers": _numbers,
    "numbers as arguments": _number_arguments,
    "members": _members,
    "brackets": _brackets,
    "braces": _braces,
    "blanks": _blanks,
    "drive_add of commas": _drive_commas,
    "device_add of options": _device_options,
    "object_add of a list": _object_options,
    "chardev-add of options": _chardev_options,
    "qemu-io with words": _words,
    "an unknown line": _unknown_line,
    "a long name": _long_name,
    "a long name of an option": _option_name,
    "a long path": _qom_path,
    "a ring buffer": _base64,
}
"""What is long to read."""

WORKED_ON: Final[Mapping[str, Case]] = {
    "a transaction": _transaction,
    "a transaction that fails": _failing_transaction,
    "persistent bitmaps": _persistent_bitmaps,
    "an image with bitmaps": _stored_bitmaps,
    "an image that is closed": _closed_with_bitmaps,
    "removing bitmaps": _removed_bitmaps,
    "a hash": _hash,
    "an image with snapshots": _opened(images.with_snapshots, 65535),
    "an image with a long table": _opened(images.with_long_l1, 1 << 22),
    "an image that is repaired": _opened(images.not_closed, 26000),
    "an internal snapshot": _internal_snapshot,
    "an export of a node that has many": _exports,
    "query-named-block-nodes": _named_nodes,
    "query-block": _backends,
    "qemu-io read": _io("read -P 0"),
    "qemu-io write": _io("write -P 7"),
    "qemu-io aio_read": _io("aio_read"),
    "qemu-io write of zeroes": _io("write -z"),
    "qemu-io discard": _io("discard"),
}
"""What is long to do: prepares it, and returns the request."""

SHORT: Final = frozenset(
    (
        "an image with snapshots",
        "an image with a long table",
        "an image that is repaired",
        "an internal snapshot",
        "an export of a node that has many",
    )
)
"""What is done to the end in a second or two, and waited for by nobody else even then."""
