"""file: the bytes of a file in the machine's storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from qmpd.base.override import override
from qmpd.block.drivers.protocols.new_file import create_file, locked, resize
from qmpd.block.images import Image
from qmpd.block.images.cut_image import CutImage
from qmpd.block.images.in_steps import read_in_steps, write_in_steps
from qmpd.block.images.locks import AVAILABLE
from qmpd.block.model.data import BlockStatus
from qmpd.block.model.driver import BlockDriver
from qmpd.block.model.families import ImageCreator
from qmpd.block.model.flat_options import FlatOptions, check_word
from qmpd.block.model.limits import Alignments
from qmpd.block.model.protocol_name import has_protocol
from qmpd.block.model.status_map import StatusMap
from qmpd.block.model.traits import Capabilities, Shape
from qmpd.block.permission_bits import (
    ALL,
    NOTHING,
    RESIZE,
    WRITE,
    WRITE_UNCHANGED,
    Perm,
    Permissions,
)
from qmpd.errors import BlockIOError, GenericError, NotServed
from qmpd.loop.completions import LONG, VERY_LONG
from qmpd.options.qemu_opts import Kind

if TYPE_CHECKING:
    from qmpd.block.model.data import Bytes
    from qmpd.block.model.flags import ReopenState
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node

_SECTOR: Final = 512


class File(BlockDriver, ImageCreator):
    """A regular file of the storage, on the host or in memory.

    The permissions that the node's parents use and share become locks on bytes of the file,
    so that other nodes and other programs respect them.
    """

    format_name = "file"
    shape = Shape(
        is_protocol=True,
        needs_filename=True,
        strong_options=("filename",),
        mutable_options=("x-check-cache-dropped",),
        needed_options=("drop-cache",),
    )
    runtime_options = {
        "filename": Kind.STRING,
        "aio": Kind.STRING,
        "aio-max-batch": Kind.NUMBER,
        "locking": Kind.STRING,
        "pr-manager": Kind.STRING,
        "drop-cache": Kind.BOOL,
        "x-check-cache-dropped": Kind.BOOL,
    }
    capabilities = Capabilities(
        write_zeroes=True,
        discard=True,
        creates_images=True,
        reopen=True,
        info=True,
        zero_init=True,
        flushes_writes_only=True,
    )

    def __init__(self, node: Node, image: Image, filename: str, *, locking: bool) -> None:
        super().__init__(node)
        self.filename = filename
        self._completions = node.services.loop.completions
        self._storage = node.services.storage.of(filename, direct=node.cache.direct)
        self.image = image
        self._locks = image.new_locks() if locking else None
        self._held: Permissions = NOTHING, NOTHING
        self._prepared: Permissions = NOTHING, NOTHING
        self._next: Image | None = None
        self._discards = {"discard-nb-ok": 0, "discard-nb-failed": 0, "discard-bytes-ok": 0}

    @override
    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        aio = options.get("aio", node.flags.aio or "threads")
        locking = options.get("locking", "auto")
        if locking == "on" and not AVAILABLE:
            raise NotServed("Option 'locking' of driver 'file' needs Linux to be 'on'")
        if options.get("pr-manager") is not None:
            manager = options["pr-manager"]
            raise GenericError(f"No persistent reservation manager with id '{manager}'")
        # With auto-read-only a file is opened for writing when somebody needs to write.
        read_only = node.read_only or node.auto_read_only
        storage, filename = node.services.storage, options["filename"]
        if storage.gate is not None:
            await storage.gate.opens(filename, node.node_name)
        image = storage.of(filename, direct=node.cache.direct).open(filename, read_only=read_only)
        if node.auto_read_only and not node.read_only:
            storage.host.image_opened(filename, writes=True)
        if aio == "native" and not node.cache.direct:
            image.close()
            raise GenericError(
                "aio=native was specified, but it requires cache.direct=on, which was not"
                " specified."
            )
        return cls(node, image, filename, locking=locking != "off" and AVAILABLE)

    @classmethod
    @override
    def take_options(cls, flat: FlatOptions) -> dict[str, Any]:
        options = super().take_options(flat)
        check_word(options.get("aio", "threads"), ("threads", "native", "io_uring"))
        check_word(options.get("locking", "auto"), ("auto", "on", "off"))
        return options

    @classmethod
    @override
    def parse_filename(cls, filename: str, flat: FlatOptions) -> None:
        name = filename.removeprefix("file:")
        # A colon in what is left is no protocol.
        flat["filename"] = f"./{name}" if name != filename and has_protocol(name) else name

    def _open_again(self, *, read_only: bool) -> Image:
        """Another descriptor of the file, for other rights to it.

        :raises BlockIOError: it cannot be opened
        """
        gate = self.node.services.storage.gate
        if gate is not None:
            gate.opens_now(self.filename, self.node.node_name)
        return self._storage.open(self.filename, read_only=read_only)

    async def close(self) -> None:
        """Close the file; its bytes stay in the storage."""
        self._completions.join(self.image)
        self.image.close()
        # a node that is gone waits for the collector; the bytes of an image in memory need not
        self.image = CutImage(read_only=self.image.read_only)

    @override
    def cut(self) -> None:
        for image in (self.image, self._next):
            if image is not None:
                self._completions.join(image)
                image.close()
        self.image = CutImage(read_only=self.image.read_only)
        self._locks = None

    # Permissions: locks on bytes of the file

    def prepare_permissions(self, perm: Perm, shared: Perm) -> None:
        """Take additional locks and check for conflicts with others (raw_handle_perm_lock)."""
        flags = self.node.flags
        if flags.auto_read_only and not flags.read_only:
            read_only = not perm & (WRITE | WRITE_UNCHANGED | RESIZE)
            if read_only != self.image.read_only:
                self._next = self._open_again(read_only=read_only)
        unshared = ALL & ~shared
        self._prepared = perm, unshared if flags.active else NOTHING
        if self._locks is None or not flags.active:
            return
        held, held_unshared = self._held
        if perm & ~held == 0 and unshared & ~held_unshared == 0:
            return
        gate = self.node.services.storage.gate
        try:
            if gate is not None:
                gate.locks(self.filename, self.node.node_name, perm)
            self._locks.lock(perm | held, unshared | held_unshared)
            self._locks.check(perm, unshared)
            self._storage.hold(self.filename, perm, unshared)
        except BlockIOError as error:
            self.abort_permissions()
            raise locked(error, self.filename) from None

    def commit_permissions(self) -> None:
        """Release the locks that are no longer needed."""
        self._held = self._prepared
        if self._next is not None:
            image, self._next = self._next, None
            self._replace(image)
        elif self._locks is not None:
            self._locks.unlock_others(*self._held)

    def abort_permissions(self) -> None:
        """Go back to the locks held before."""
        if self._next is not None:
            self._next.close()
            self._next = None
        if self._locks is not None:
            self._locks.unlock_others(*self._held)

    def _replace(self, image: Image) -> None:
        """Replace the descriptor of the file, taking the same locks on the new one."""
        if self._locks is not None:
            self._locks = image.new_locks()
            self._locks.lock(*self._held)
        self._completions.join(self.image)
        self.image.close()
        self.image = image

    @override
    async def reopen_prepare(self, state: ReopenState) -> None:
        """Open the file for writing where the node is going to be writable."""
        flags = state.flags
        if not flags.read_only and not flags.auto_read_only and self.image.read_only:
            state.data = self._open_again(read_only=False)

    @override
    async def reopen_commit(self, state: ReopenState) -> None:
        """Go on with a descriptor opened for what the node may do now."""
        node = self.node
        writes = self._held[0] & (WRITE | WRITE_UNCHANGED | RESIZE)
        read_only = node.read_only or (node.auto_read_only and not writes)
        image, state.data = state.data, None
        if read_only != self.image.read_only:
            self._replace(image or self._open_again(read_only=read_only))
        elif image is not None:
            image.close()

    @override
    async def activate(self) -> None:
        """Another process may have written: what the host has read of the file is old."""
        options = self.node.options
        if options.get("drop-cache", True) and not self.node.cache.direct:
            self.image.drop_cache(check=bool(options.get("x-check-cache-dropped")))

    @override
    async def reopen_abort(self, state: ReopenState) -> None:
        if state.data is not None:
            state.data.close()

    # Data

    @override
    def at_hand(self) -> Bytes:
        return self.image

    @override
    def alignments(self) -> Alignments | None:
        """Memory of any alignment will do, unless data is to go past the host's cache."""
        direct = self.node.flags.cache.direct
        return Alignments(0, _SECTOR, _SECTOR) if direct else Alignments(0, 1)

    @override
    def get_length(self) -> int:
        return self.image.length()

    async def pread(self, offset: int, length: int) -> bytes:
        """Read; a last partial sector is padded with zeroes."""
        image = self.image
        if length < LONG:
            # no thread makes it: what `Completions.run` would do
            self._completions.submit()
            return image.pread(offset, length)
        if not image.in_threads:
            self._completions.submit()
            if length > VERY_LONG:
                return await read_in_steps(self._completions, image, offset, length)
            return image.pread(offset, length)
        return await self._completions.run((image,), lambda: image.pread(offset, length), length)

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """Write, extending the file as needed."""
        image, length = self.image, len(data)
        if length < LONG:
            self._completions.submit()
            image.pwrite(offset, data)
        elif image.in_threads:
            await self._completions.run((image,), lambda: image.pwrite(offset, data), length)
        else:
            self._completions.submit()
            if length > VERY_LONG:
                await write_in_steps(self._completions, image, offset, memoryview(data))
            else:
                image.pwrite(offset, data)
        if fua and not self.node.cache.no_flush:
            await self._sync()

    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        """Punch a hole or zero the area in place."""
        image = self.image
        await self._change(lambda: image.zero(offset, length, may_unmap=may_unmap), length)

    async def _change(self, work: Callable[[], None], length: int) -> None:
        """Do to the file what takes its time only where `length` bytes of data go."""
        if length > VERY_LONG and self.image.in_threads:
            await self._completions.run((self.image,), work, length)
        else:
            self._completions.submit()
            work()

    def zeroes_without_fallback(self) -> bool:
        """File systems can zero an area without a write."""
        return True

    def zeroes_may_unmap(self) -> bool:
        """Holes read as zeroes."""
        return True

    async def pdiscard(self, offset: int, length: int) -> None:
        """Punch a hole."""
        image = self.image
        try:
            await self._change(lambda: image.punch(offset, length), length)
        except BlockIOError:
            self._discards["discard-nb-failed"] += 1
            raise
        self._discards["discard-nb-ok"] += 1
        self._discards["discard-bytes-ok"] += length

    @override
    async def flush_to_disk(self) -> None:
        await self._sync()

    async def _sync(self) -> None:
        image = self.image
        if image.in_threads:
            await self._completions.sync(image, image.flush)
        else:
            self._completions.submit()
            image.flush()

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """Data or a hole, as the file system reports it (find_allocation)."""
        is_data, size = self.image.extent(offset, length)
        # the file may end within what the host reads at a time, the node does not
        align = _SECTOR if self.node.cache.direct else 1
        end = -(-(offset + size) // align) * align
        size = min(length, end - offset)
        return BlockStatus(
            size, data=is_data, zero=not is_data, allocated=True, offset=offset, file=self.node
        )

    @override
    async def status_map(self, offset: int, length: int) -> StatusMap | None:
        found = StatusMap(offset)
        if offset + length > self.image.length():
            # the file ends within the area: the node goes on to the end of a sector
            return None
        self.image.fill_map(found, length)
        return found

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Truncate or extend the file."""
        image = self.image
        length = image.length() - size if prealloc == "off" else size
        await self._change(lambda: resize(image, size, prealloc), length)

    # What it tells

    async def info_members(self) -> dict[str, Any]:
        """Files are never dirty and have no specific information."""
        return {"dirty-flag": False, "format-specific": {"type": "file", "data": {}}}

    def specific_stats(self) -> dict[str, Any] | None:
        """The counters of discards."""
        return {"driver": "file", **self._discards}

    @override
    def allocated_size(self) -> int | None:
        return self.image.allocated()

    def exact_filename(self) -> str | None:
        """The path of the file."""
        return self.filename

    # Creating

    @override
    @classmethod
    async def create(cls, graph: Graph, options: Mapping[str, Any]) -> None:
        """Create a file of `size` bytes; an existing one is truncated first."""
        await create_file(graph, options)

    @override
    @classmethod
    def delete_file(cls, graph: Graph, options: Mapping[str, Any]) -> None:
        try:
            graph.services.storage.delete(options["filename"])
        except BlockIOError as error:
            graph.services.say.report(error.desc)
