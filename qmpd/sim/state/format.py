"""The file that a machine is saved in.

::

    qmpd machine 1                 the version of the format
    {"qmpd": ..., ...}             what there is, as JSON on one line
    ...                            the pages of all files, compressed by zlib
    ...                            SHA-256 of everything before, 32 bytes

The line of JSON has what `qmpd.sim.state.describe` says of a machine, and ``files``: for each its
``name``, ``length``, ``pages`` and ``reserved``; these two are lists of runs: the number of a first
page of 4096 bytes, and the number after that of a last one.  The pages follow in this
order.

Nothing in it is run: reading a file makes numbers, texts and bytes of it, and no objects by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final

from qmpd.block.images.memory import MemoryFile
from qmpd.block.images.pages import PAGE

VERSION: Final = 1

_NAME: Final = b"qmpd machine "
_STEP: Final = 256
"""Pages that are compressed together."""
_CHUNK: Final = 1 << 20
_DIGEST: Final = hashlib.sha256().digest_size


def write(
    path: str | os.PathLike[str],
    description: Mapping[str, Any],
    files: Mapping[str, MemoryFile],
    mode: int = 0o666,
) -> None:
    """Write a file.

    :param description: JSON values
    :param mode: permission bits of a new file, less those of the umask
    :raises OSError: it cannot be written
    """
    listed = [{"name": name, **file.describe()} for name, file in files.items()]
    text = json.dumps({**description, "files": listed}, separators=(",", ":"))

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, mode)

    with open(path, "wb", opener=opener) as out:
        digest = hashlib.sha256()

        def put(data: bytes) -> None:
            digest.update(data)
            out.write(data)

        put(b"%s%d\n%s\n" % (_NAME, VERSION, text.encode()))
        compressor = zlib.compressobj()
        for entry, file in zip(listed, files.values(), strict=True):
            for first, count in _steps(entry["pages"]):
                put(compressor.compress(file.read(first * PAGE, count * PAGE)))
        put(compressor.flush())
        out.write(digest.digest())


def _steps(runs: list[list[int]]) -> Iterator[tuple[int, int]]:
    """The pages of all runs, as the first of some and how many of them."""
    for first, end in runs:
        for start in range(first, end, _STEP):
            yield start, min(_STEP, end - start)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, MemoryFile]]:
    """Read a file.

    :returns: the description, and the files by their names
    :raises OSError: it cannot be read
    :raises ValueError: it is no such file, it is damaged, or its version is not known
    """
    with open(path, "rb") as source:
        head = source.readline(64)
        if not head.startswith(_NAME):
            raise ValueError(f"'{path}' is no machine that qmpd has saved")
        version = head.removeprefix(_NAME).strip()
        if version != b"%d" % VERSION:
            raise ValueError(
                f"'{path}' has version {version.decode('ascii', 'replace')} of the format;"
                f" this qmpd reads version {VERSION}"
            )
        _check(path, source)
        source.seek(len(head))
        try:
            return _read(source)
        except (ArithmeticError, LookupError, TypeError, ValueError, zlib.error) as error:
            # whoever made it knows the digest and yet not the format
            raise ValueError(f"'{path}' is not as qmpd writes it: {error}") from None


def _check(path: str | os.PathLike[str], source: BinaryIO) -> None:
    """Check the digest."""
    size = source.seek(0, 2)
    source.seek(0)
    digest = hashlib.sha256()
    left = size - _DIGEST
    while left > 0 and (data := source.read(min(left, _CHUNK))):
        digest.update(data)
        left -= len(data)
    if left or source.read() != digest.digest():
        raise ValueError(f"'{path}' is damaged: its contents and its checksum differ")


def _read(source: BinaryIO) -> tuple[dict[str, Any], dict[str, MemoryFile]]:
    description: dict[str, Any] = json.loads(source.readline())
    pages = _Pages(source)
    files: dict[str, MemoryFile] = {}
    for entry in description.pop("files"):
        file = files[str(entry["name"])] = MemoryFile()
        length = int(entry["length"])
        for first, count in _steps(entry["pages"]):
            if first < 0 or (first + count - 1) * PAGE >= length:
                raise ValueError("a page lies beyond its file")
            file.write(first * PAGE, pages.take(count * PAGE))
        for first, end in entry["reserved"]:
            file.reserve(first * PAGE, (end - first) * PAGE)
        file.truncate(length)
    return description, files


class _Pages:
    """The compressed part of a file."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._decompressor = zlib.decompressobj()

    def take(self, size: int) -> bytes:
        """The next bytes.

        :raises ValueError: there are less
        """
        data = b""
        while len(data) < size:
            packed = self._decompressor.unconsumed_tail or self._source.read(_CHUNK)
            more = self._decompressor.decompress(packed, size - len(data))
            if not more and not packed:
                raise ValueError("pages are missing")
            data += more
        return data
