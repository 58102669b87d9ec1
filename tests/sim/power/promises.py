"""What must hold after a loss of power, and a guest that knows it of its disks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import qmpd

SIZE = 1 << 20
"""Bytes of a disk."""


@dataclass(frozen=True)
class Promise:
    """What must hold.

    :param contents: of each disk: the versions that each of its sectors may have
    :param opens: files that can be opened as qcow2
    :param bitmaps: whether bitmaps that are consistent must have all that was written
    """

    contents: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    opens: tuple[str, ...] = ()


Scenario = Callable[[qmpd.Machine], Iterator[Promise]]


class Guest:
    """A guest that knows what its disks may hold after a loss of power."""

    def __init__(self, vm: qmpd.Machine, *names: str, size: int = SIZE) -> None:
        self.vm = vm
        self.versions = {name: [bytes(size)] for name in names or ("q",)}
        self.more = Promise()

    def promise(self) -> Promise:
        """What must hold now."""
        return replace(
            self.more, contents={name: tuple(kept) for name, kept in self.versions.items()}
        )

    def _next(self, name: str, offset: int, data: bytes) -> Promise:
        last = self.versions[name][-1]
        end = offset + len(data)
        self.versions[name].append(last[:offset] + data + last[end:])
        return self.promise()

    def write(
        self, offset: int, length: int, byte: int, name: str = "q", *, fua: bool = False
    ) -> Iterator[Promise]:
        """Write a byte many times."""
        yield self._next(name, offset, bytes([byte]) * length)
        self.vm.disk(name).write(offset, bytes([byte]) * length, fua=fua)
        if fua:
            # it is durable, what was written before need not be
            kept = bytes([byte]) * length
            end = offset + length
            self.versions[name] = [v[:offset] + kept + v[end:] for v in self.versions[name]]
            yield self.promise()

    def zero(
        self, offset: int, length: int, name: str = "q", *, unmap: bool = False
    ) -> Iterator[Promise]:
        """Write zeroes."""
        yield self._next(name, offset, bytes(length))
        self.vm.disk(name).write_zeroes(offset, length, unmap=unmap)

    def discard(self, offset: int, length: int, name: str = "q") -> Iterator[Promise]:
        """Discard, after which the area reads as before or as zeroes."""
        yield self._next(name, offset, bytes(length))
        self.vm.disk(name).discard(offset, length)

    def flush(self, name: str = "q") -> Iterator[Promise]:
        """Flush: the last version is there for certain."""
        self.vm.disk(name).flush()
        self.versions[name] = self.versions[name][-1:]
        yield self.promise()

    def closed(self) -> Iterator[Promise]:
        """Say that images have been closed in good order."""
        self.versions = {name: kept[-1:] for name, kept in self.versions.items()}
        yield self.promise()

    def opens(self, *paths: str) -> Iterator[Promise]:
        """Say that files are images from now on."""
        self.more = replace(self.more, opens=self.more.opens + paths)
        yield self.promise()
