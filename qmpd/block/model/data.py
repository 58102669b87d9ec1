"""What requests to a node are made of: the answers, and what is needed of its surroundings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from qmpd.block.model.traits import Capabilities

if TYPE_CHECKING:
    from qmpd.block.model.limits import Alignments, BlockLimits
    from qmpd.block.model.parent import Parent
    from qmpd.block.model.status_map import StatusMap
    from qmpd.block.permission_bits import Perm, Role


class BlockStatus(NamedTuple):
    """What an area of a node holds; the same for all of its `length` bytes.

    `data`: reads come from somewhere.  `zero`: it reads as zeroes.  `allocated`:
    this node decides, not its backing.  `offset`: where it lies in `file`.
    """

    length: int
    data: bool
    zero: bool
    allocated: bool
    offset: int | None = None
    file: object | None = None


class Data(Protocol):
    """What a node's driver does with its data; see `DriverInterface`, which says more of each."""

    @property
    def gone(self) -> bool: ...
    @property
    def capabilities(self) -> Capabilities: ...
    def can_write_compressed(self) -> bool: ...
    @property
    def format_name(self) -> str: ...
    def get_length(self) -> int: ...
    def at_hand(self) -> Bytes | None: ...
    def limits(self) -> BlockLimits | None: ...
    def alignments(self) -> Alignments | None: ...
    def debug_event(self, event: str) -> None: ...
    def zeroes_without_fallback(self) -> bool: ...
    def subcluster_size(self) -> int | None: ...
    async def pread(self, offset: int, length: int) -> bytes: ...
    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None: ...
    async def pwrite_piece(self, offset: int, data: Piece) -> None: ...
    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None: ...
    async def zero_fast(self, offset: int, length: int, *, may_unmap: bool = False) -> None: ...
    async def pwrite_compressed(self, offset: int, data: bytes | memoryview) -> None: ...
    async def pdiscard(self, offset: int, length: int) -> None: ...
    async def flush(self) -> None: ...
    async def flush_to_disk(self) -> None: ...
    async def block_status(self, offset: int, length: int) -> BlockStatus: ...
    async def status_map(self, offset: int, length: int) -> StatusMap | None: ...
    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None: ...


class Bytes(Protocol):
    """Bytes that are there: an `Image`, or what passes for one."""

    @property
    def fd(self) -> int:
        """A descriptor that the bytes can be sent from and read by, as they are; -1: none."""

    def extent(self, offset: int, length: int) -> tuple[bool, int]:
        """Whether there is anything but zeroes at `offset`, and for how many bytes that holds."""

    def parts(self, offset: int, length: int) -> Sequence[bytes]:
        """Read `length` bytes, in pieces of any length."""

    def pwrite(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data`."""

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer`."""

    def read_cached(self, offset: int, buffer: memoryview) -> bool:
        """Fill `buffer`; returns False where that needs to wait for a disk, or more care."""


class Piece(ABC):
    """Bytes that are somewhere else until they are written, where that is."""

    @abstractmethod
    def __len__(self) -> int:
        """How many."""

    @abstractmethod
    def part(self, start: int, end: int) -> Self:
        """Some of them."""

    @abstractmethod
    async def write_to(self, node: Beneath, offset: int) -> None:
        """Write them to `node`.

        :raises BlockIOError: reading or writing them has failed
        """


class Beneath(Protocol):
    """A child, as far as its parent's requests are concerned."""

    limits: BlockLimits | None
    alignments: Alignments

    @property
    def driver(self) -> Data: ...
    async def flush(self) -> None: ...


class Below(Protocol):
    """An edge to a child, as far as requests are concerned."""

    @property
    def node(self) -> Beneath: ...
    @property
    def role(self) -> Role: ...
    @property
    def perm(self) -> Perm: ...


class Resizable(Protocol):
    """A node above, as far as the length of one below is concerned."""

    def child_resized(self) -> None: ...


class Above(Protocol):
    """An edge to a parent, as far as requests are concerned."""

    @property
    def user(self) -> Parent | None: ...
    @property
    def parent_node(self) -> Resizable | None: ...
