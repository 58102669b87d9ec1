"""What the commands of qemu-io share: entries of their table, options, reports."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.scalars import SizeForm
from qmpd.base.sizes import REQUEST_MAX_BYTES, SECTOR
from qmpd.loop.apart import outcome
from qmpd.monitor.hmp.line import UsageError
from qmpd.monitor.hmp.quantities import cvtnum, parse_pattern, quantity
from qmpd.options.getopt import getopt_all

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.machine.machine import Machine
    from qmpd.profile.monitor_rules import MonitorName
    from qmpd.profile.rules import Rules

_HEX_WITH_SUFFIX: Final = re.compile(r"\s*\+?0[xX][0-9a-fA-F]+[kKmMgGtTpP]")
"""B and E are digits."""


@dataclass(frozen=True, slots=True)
class IoCommand:
    """One command of qemu-io; `max_arguments` None for any number.

    Where `letters` says which options it has, its handler takes a `Transfer`, otherwise the words.
    """

    name: str
    handler: Callable[[QemuIo, Any], Awaitable[None]]
    min_arguments: int = 0
    max_arguments: int | None = 0
    usage: str | None = None
    summary: str = ""
    short: str = ""
    writes: bool = False
    resizes: bool = False
    letters: str | None = None
    rule: MonitorName | None = None
    """The rule that holds in the versions that have it; None: all have it."""

    def as_in(self, rules: Rules) -> IoCommand | None:
        """The command as it is where `rules` hold; None: there is none."""
        if self.rule is not None and not rules.holds(self.rule):
            return None
        if self.name == "truncate" and not rules.holds("truncate-with-mode"):
            return replace(self, max_arguments=1, usage="off")
        if self.letters and "qr" in self.letters and not rules.holds("registered-buffers"):
            usage = (self.usage or "").replace("qr", "q")
            return replace(self, letters=self.letters.replace("r", ""), usage=usage)
        return self


class Usage(Exception):
    """The command was used wrongly: its usage line is shown."""


class Transfer:
    """The options and operands of a command, such as one that moves data.

    :param words: what it is given
    :param letters: the options that there are
    :param sizes: how sizes are written
    :raises GetoptError: the options are wrong
    """

    def __init__(self, words: Sequence[str], letters: str, sizes: SizeForm) -> None:
        self._sizes = sizes
        self.all_options, self.operands = getopt_all(words, letters)
        self.options = dict(self.all_options)
        self._lengths: Callable[[], list[int]] | None = None

    def read_ahead(self) -> None:
        """Read the lengths that operands may be; nobody is told yet what is wrong with them."""
        self._lengths = outcome(partial(read_lengths, self.operands[1:], self._sizes))

    def lengths(self) -> list[int]:
        """The lengths of a vector: all operands but the first.

        :raises UsageError: one is not a size, or they are too long
        """
        if self._lengths is None:
            return read_lengths(self.operands[1:], self._sizes)
        return self._lengths()

    def check(self, exactly: int | None = None) -> None:
        """Check the pattern, and that there are at least two operands, or `exactly` as many.

        :raises Usage: another number of operands
        """
        if "P" in self:
            parse_pattern(self.options["P"])
        count = len(self.operands)
        if (exactly is not None and count != exactly) or count < 2:
            raise Usage

    def __contains__(self, letter: str) -> bool:
        return letter in self.options


class QemuIo:
    """qemu-io on one backend.

    :param backend: the backend to read and write
    """

    def __init__(self, machine: Machine, backend: BlockBackend) -> None:
        self.machine = machine
        self.backend = backend
        self._sizes = machine.profile.rules.sizes

    def number(self, text: str) -> int:
        """A size or offset, in bytes.

        :raises UsageError: it is not a size, or too large
        """
        self._warn(text)
        return cvtnum(text, self._sizes)

    def length(self, text: str) -> int:
        """The length of one request, in bytes.

        :raises UsageError: it is not a size, or longer than a request may be
        """
        self._warn(text)
        return _read_length(text, self._sizes)

    def lengths(self, request: Transfer) -> list[int]:
        """The lengths of a vector.

        :raises UsageError: one is not a size, or they are too long
        """
        for text in request.operands[1:]:
            self._warn(text)
        return request.lengths()

    def _warn(self, text: str) -> None:
        if self._sizes is SizeForm.DIGITS and _HEX_WITH_SUFFIX.fullmatch(text):
            said = f"warning: Using a multiplier suffix on hex numbers is deprecated: {text}"
            self.machine.services.say.report(said)

    def out(self, text: str) -> None:
        """Print on the standard output of the machine's host."""
        self.machine.host.print(text)

    def show(self, text: str) -> None:
        """Show in the monitor (``qemu_printf``)."""
        if self.machine.complaints.hmp_output is None:
            self.out(text)
        else:
            self.machine.complaints.hmp_output.append(text)

    def accounted_lengths(self, kind: str, request: Transfer) -> int:
        """The length of a request from those of its buffers; wrong ones are counted as invalid.

        :param kind: rd or wr
        :raises UsageError: one is not a size, or they are too long
        """
        try:
            return sum(self.lengths(request))
        except UsageError:
            self.backend.account_invalid(kind)
            raise

    def report(
        self, verb: str, offset: int, count: int, total: int, began: int, terse: bool
    ) -> None:
        """Print what was done and how fast.

        :param began: the time on the machine's clock when it began, nanoseconds
        """
        seconds = max(self.machine.clock.now() - began, 1000) / 1e9
        minutes, rest = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        if terse:
            stamp = f"{hours:.0f}:{minutes:02.0f}:{int(rest):02d}.{int(rest % 1 * 100):02d}"
            self.out(f"{total},1,{stamp},{total / seconds:.3f},{1 / seconds:.3f}\n")
            return
        stamp = f"{int(rest):02d}.{int(rest % 1 * 100):02d} sec"
        if hours or minutes:
            stamp = f"{hours:.0f}:{minutes:02.0f}:{stamp[:5]}"
        self.out(f"{verb} {total}/{count} bytes at offset {offset}\n")
        rate = f"{quantity(total / seconds)}/sec and {1 / seconds:.4f} ops/sec"
        self.out(f"{quantity(total)}, 1 ops; {stamp} ({rate})\n")


def _read_length(text: str, sizes: SizeForm) -> int:
    count = cvtnum(text, sizes)
    if count > REQUEST_MAX_BYTES:
        raise UsageError(f"length cannot exceed {REQUEST_MAX_BYTES}, given {text}\n")
    return count


def read_lengths(texts: Sequence[str], sizes: SizeForm) -> list[int]:
    """Read the lengths of a vector, which together make one request."""
    lengths = [_read_length(text, sizes) for text in texts]
    if sum(lengths) > REQUEST_MAX_BYTES:
        raise UsageError("The total number of bytes exceed the maximum size\n")
    return lengths


def check_sector_aligned(name: str, value: int) -> None:
    """Refuse a value that is not a multiple of 512."""
    if value % SECTOR:
        raise UsageError(f"{value} is not a sector-aligned value for '{name}'\n")
