"""blkdebug: a filter that fails or suspends requests on demand (block/blkdebug.c)."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from qmpd.base.override import override
from qmpd.base.scalars import decimal_number
from qmpd.base.sizes import INT_MAX, INT_MIN
from qmpd.block.change.opening import open_child
from qmpd.block.drivers.filters.blkdebug_rules import Rules, read_rules, take_rules
from qmpd.block.drivers.filters.filter import Filter
from qmpd.block.drivers.protocols.null import UNREAD
from qmpd.block.model.data import BlockStatus
from qmpd.block.model.driver import check_sizes
from qmpd.block.model.filename import exact_filename
from qmpd.block.model.flat_options import is_index
from qmpd.block.model.limits import Alignments, BlockLimits
from qmpd.block.permission_bits import FILTERED, PERMISSION_BITS, PRIMARY, Perm, Permissions, Role
from qmpd.errors import BlockIOError, GenericError
from qmpd.loop.task import Waiter
from qmpd.options.qemu_opts import Kind

if TYPE_CHECKING:
    from qmpd.block.model.flat_options import FlatOptions
    from qmpd.block.model.node import Node

_SIZES = (
    *("align", "max-transfer", "opt-write-zero", "max-write-zero", "opt-discard", "max-discard"),
)


def _read_text(node: Node, filename: str) -> str:
    """The text of a file of rules.

    :raises GenericError: it cannot be read
    """
    try:
        return node.services.storage.read_text(filename)
    except BlockIOError as error:
        reason = os.strerror(error.errno)
        if error.errno == errno.EISDIR:
            raise GenericError(f"Cannot read config file: {reason}") from None
        if node.services.manners.rule_files_are_named:
            raise GenericError(f"Could not open '{filename}': {reason}") from None
        raise GenericError(f"Could not read blkdebug config file: {reason}") from None


class BlkDebug(Filter):
    """Passes requests on to its `image` child unless a rule says otherwise.

    Rules refer to events: points that the driver above, or this node, passes while it works.
    """

    format_name = "blkdebug"
    shape = replace(
        Filter.shape,
        is_protocol=True,
        has_protocol_name=True,
        file_child=False,
        strong_options=("config", "inject-error", "set-state", *_SIZES),
    )
    capabilities = replace(
        Filter.capabilities, hears_events=True, reopen=True, allocated_size=False
    )

    def __init__(self, node: Node, options: Mapping[str, Any], rules: Rules) -> None:
        super().__init__(node)
        self.config: str | None = options.get("config")
        self.rules = rules
        self._held: Waiter | None = None
        self._limits = BlockLimits()

    @override
    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        check_sizes(options, _SIZES)
        text = None
        if options.get("config") is not None:
            text = _read_text(node, options["config"])
        driver = cls(node, options, read_rules(text, options))
        # Asked for the permissions of its child before it is open.
        node.driver = driver
        await open_child(node, "image", options["image"], role=FILTERED | PRIMARY)
        driver._limits = driver._read_limits(options)
        driver.debug_event("none")
        return driver

    @classmethod
    @override
    def take_options(cls, flat: FlatOptions) -> dict[str, Any]:
        sizes = dict.fromkeys(_SIZES, Kind.SIZE)
        given = flat.take({"config": Kind.STRING, "x-image": Kind.STRING, **sizes})
        image = given.pop("x-image", None)
        given |= take_rules(flat)
        for name in ("take-child-perms", "unshare-child-perms"):
            if permissions := _take_permissions(flat, name):
                given[name] = permissions
        return given | {"image": flat.child("image", image, parse_filename=True)}

    @classmethod
    @override
    def parse_filename(cls, filename: str, flat: FlatOptions) -> None:
        rest = filename.removeprefix("blkdebug:")
        if rest != filename:
            config, colon, rest = rest.partition(":")
            if not colon:
                raise GenericError("blkdebug requires both config file and image path")
            if config:
                flat["config"] = config
        flat["x-image"] = rest

    def _read_limits(self, options: Mapping[str, Any]) -> BlockLimits:
        below = self.filtered.limits
        lowest = 1 if below is None else below.request_alignment
        given = options.get("align", 0)
        if given and (given >= INT_MAX or given & (given - 1)):
            raise _unmet("align", given)
        align = max(given, lowest)
        values: dict[str, int] = {}
        for name, unit in (
            ("max-transfer", None),
            ("opt-write-zero", None),
            ("max-write-zero", "opt-write-zero"),
            ("opt-discard", None),
            ("max-discard", "opt-discard"),
        ):
            value = options.get(name, 0)
            step = max(align, values[unit] if unit else 0)
            if value and (value >= INT_MAX or value % step):
                raise _unmet(name, value)
            values[name] = value
        return BlockLimits(
            align,
            values["max-transfer"],
            values["opt-write-zero"],
            values["max-write-zero"],
            values["opt-discard"],
            values["max-discard"],
        )

    @override
    async def close(self) -> None:
        self.rules.resume_all()

    @override
    def limits(self) -> BlockLimits | None:
        return self._limits

    @override
    def alignments(self) -> Alignments | None:
        return Alignments(self._limits.pdiscard_alignment, 0)

    @override
    @classmethod
    def child_permissions(cls, node: Node, role: Role, perm: Perm, shared: Perm) -> Permissions:
        """The options may take further permissions, or unshare some."""
        perm, shared = super().child_permissions(node, role, perm, shared)
        for name in node.options.get("take-child-perms", ()):
            perm |= PERMISSION_BITS[name]
        for name in node.options.get("unshare-child-perms", ()):
            shared &= ~PERMISSION_BITS[name]
        return perm, shared

    def exact_filename(self) -> str | None:
        """``blkdebug:CONFIG:IMAGE``; None if rules were given as options, too."""
        if any(name in self.node.options for name in self.shape.strong_options if name != "config"):
            return None
        below = exact_filename(self.filtered)
        return None if below is None else f"blkdebug:{self.config or ''}:{below}"

    # Events and breakpoints

    def debug_event(self, event: str) -> None:
        """Apply the rules for `event`, which the driver above or this node has reached.

        A breakpoint suspends the next request.
        """
        for request in self.rules.process(event):
            self._print(f"blkdebug: Suspended request '{request.tag}'\n")
            self._held = request.waiter

    def _print(self, text: str) -> None:
        self.node.services.say.print(text)

    def set_breakpoint(self, event: str, tag: str) -> None:
        """Suspend the next request at `event`.

        :raises BlockIOError: ENOENT if there is no such event
        """
        self.rules.add_breakpoint(event, tag)

    def remove_breakpoint(self, tag: str) -> None:
        """Remove the breakpoints with this tag and resume the requests they suspended.

        :raises BlockIOError: ENOENT if there is none
        """
        found = self.rules.remove_breakpoints(tag)
        found |= self._resume(tag, every=True)
        if not found:
            raise BlockIOError(errno.ENOENT)

    def resume(self, tag: str) -> None:
        """Resume a suspended request.

        :raises BlockIOError: ENOENT if none is suspended
        """
        if not self._resume(tag, every=False):
            raise BlockIOError(errno.ENOENT)

    def _resume(self, tag: str, *, every: bool) -> bool:
        found = False
        for request in self.rules.taken(tag, every=every):
            self._print(f"blkdebug: Resuming request '{tag}'\n")
            request.waiter.wake()
            found = True
        return found

    def is_suspended(self, tag: str) -> bool:
        """Whether a breakpoint with this tag has suspended a request."""
        return self.rules.is_suspended(tag)

    async def _fails(self, kind: str, offset: int, length: int) -> bool:
        """Wait at a breakpoint, then fail if a rule says so.

        :returns: whether the request ends here though nobody hears of it: a rule with a
            negative errno does that
        :raises BlockIOError: a rule says so
        """
        if self._held is not None:
            held, self._held = self._held, None
            await held
        rule = self.rules.match(kind, offset, length)
        if rule is None:
            return False
        if not rule.immediately:
            await self.node.services.loop.reschedule()
        if INT_MIN < rule.errno < 0:
            return True
        raise BlockIOError(rule.errno)

    # Requests

    @override
    async def pread(self, offset: int, length: int) -> bytes:
        if await self._fails("read", offset, length):
            return UNREAD * length
        return await self.filtered.pread(offset, length)

    @override
    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        if not await self._fails("write", offset, len(data)):
            await self.filtered.pwrite(offset, data, fua=fua)

    @override
    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        """Fail with ENOTSUP where the area is smaller than the alignment."""
        limits = self._limits
        if length < max(limits.request_alignment, limits.pwrite_zeroes_alignment):
            raise BlockIOError(errno.ENOTSUP)
        if not await self._fails("write-zeroes", offset, length):
            await self.filtered.pwrite_zeroes(offset, length, may_unmap=may_unmap)

    @override
    async def pdiscard(self, offset: int, length: int) -> None:
        """Fail with ENOTSUP where the area is smaller than the alignment."""
        if length < self._limits.pdiscard_alignment:
            raise BlockIOError(errno.ENOTSUP)
        if not await self._fails("discard", offset, length):
            await self.filtered.pdiscard(offset, length)

    @override
    async def flush_to_disk(self) -> None:
        if not await self._fails("flush", 0, 0):
            await self.filtered.flush()

    @override
    async def block_status(self, offset: int, length: int) -> BlockStatus:
        if await self._fails("block-status", offset, length):
            return BlockStatus(length, data=False, zero=False, allocated=False)
        return await self.filtered.block_status(offset, length)


def _unmet(name: str, value: int) -> GenericError:
    return GenericError(f"Cannot meet constraints with {name} {value}")


def _take_permissions(flat: FlatOptions, name: str) -> list[str]:
    """A list of permissions (``blkdebug_parse_perm_list``).

    :raises GenericError: it is none
    """
    below = flat.extract(name)
    if not below:
        return []
    numbers = [key.partition(".")[0] for key in below]
    if not all(map(is_index, numbers)):
        if any(map(is_index, numbers)):
            raise GenericError("Cannot mix list and non-list keys")
        raise GenericError("Invalid parameter type for '<anonymous>', expected: array")
    largest = max(map(decimal_number, numbers))
    if len(set(numbers)) <= largest:
        raise GenericError(
            f"List indices are not contiguous, saw {len(set(numbers))} elements but {largest}"
            " largest index"
        )
    for number in range(largest + 1):
        value = below.get(str(number))
        if not isinstance(value, str):
            raise GenericError(f"Invalid parameter type for '[{number}]', expected: string")
        if value not in PERMISSION_BITS:
            raise GenericError(f"Parameter 'null' does not accept value '{value}'")
    return [below[str(number)] for number in range(len(below))]
