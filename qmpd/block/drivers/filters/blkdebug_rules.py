"""The rules of blkdebug: which requests fail, and when."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from qmpd.base.newest_first import NewestFirst
from qmpd.base.qdict import QDict
from qmpd.base.sizes import SECTOR, as_int
from qmpd.block.model.flat_options import FlatOptions
from qmpd.errors import BlockIOError, GenericError
from qmpd.loop.task import Waiter
from qmpd.options.config_file import parse_config
from qmpd.options.qemu_opts import Kind

EVENTS: Final = (
    *("l1_update", "l1_grow_alloc_table", "l1_grow_write_table", "l1_grow_activate_table"),
    *("l2_load", "l2_update", "l2_update_compressed", "l2_alloc_cow_read", "l2_alloc_write"),
    *("read_aio", "read_backing_aio", "read_compressed", "write_aio", "write_compressed"),
    *("vmstate_load", "vmstate_save", "cow_read", "cow_write"),
    *("reftable_load", "reftable_grow", "reftable_update"),
    *("refblock_load", "refblock_update", "refblock_update_part"),
    *("refblock_alloc", "refblock_alloc_hookup", "refblock_alloc_write"),
    *("refblock_alloc_write_blocks", "refblock_alloc_write_table", "refblock_alloc_switch_table"),
    *("cluster_alloc", "cluster_alloc_bytes", "cluster_free", "flush_to_os", "flush_to_disk"),
    *("pwritev_rmw_head", "pwritev_rmw_after_head", "pwritev_rmw_tail", "pwritev_rmw_after_tail"),
    *("pwritev", "pwritev_zero", "pwritev_done", "empty_image_prepare"),
    *("l1_shrink_write_table", "l1_shrink_free_l2_clusters", "cor_write", "cluster_alloc_space"),
    "none",
)
"""All events, of QAPI enum BlkdebugEvent."""

KINDS: Final = ("read", "write", "write-zeroes", "discard", "flush", "block-status")
"""Kinds of requests, of QAPI enum BlkdebugIOType."""

_DEFAULT_KINDS: Final = frozenset(KINDS) - {"block-status"}


@dataclass(slots=True, eq=False)
class Rule:
    """An action at an event; `state` 0 means in any state."""

    event: str
    state: int


@dataclass(slots=True, eq=False)
class InjectError(Rule):
    """After the event, requests of `kinds` fail; `sector` -1 means anywhere."""

    kinds: frozenset[str]
    errno: int
    sector: int
    once: bool
    immediately: bool


@dataclass(slots=True, eq=False)
class SetState(Rule):
    """Changes the state to `new_state` at the event."""

    new_state: int


@dataclass(slots=True, eq=False)
class Breakpoint(Rule):
    """Suspends a request at the event until `tag` is resumed."""

    tag: str


@dataclass(slots=True, eq=False)
class Suspended:
    """A suspended request."""

    tag: str
    waiter: Waiter


class Rules:
    """The rules of a node, and its current state."""

    def __init__(self) -> None:
        self.state = 1
        self._rules: dict[str, NewestFirst[Rule]] = {}
        self._active: NewestFirst[InjectError] = NewestFirst()
        self._suspended: NewestFirst[Suspended] = NewestFirst()
        self._watchers: list[Waiter] = []

    def add(self, rule: Rule) -> None:
        """Add a rule."""
        self._rules.setdefault(rule.event, NewestFirst()).add(rule)

    def process(self, event: str) -> list[Suspended]:
        """Apply the rules for `event`; returns the requests to suspend."""
        rules = self._rules.get(event)
        if not rules:
            return []
        state = self.state
        active: NewestFirst[InjectError] = NewestFirst()
        held: list[Suspended] = []
        for rule in list(rules):
            if rule.state not in (0, self.state):
                continue
            if isinstance(rule, InjectError):
                active.add(rule)
            elif isinstance(rule, SetState):
                state = rule.new_state
            elif isinstance(rule, Breakpoint):
                rules.remove(rule)
                request = Suspended(rule.tag, Waiter())
                self._suspended.add(request)
                held.append(request)
                self._tell()
        if active:
            self._active = active
        self.state = state
        return held

    def match(self, kind: str, offset: int, length: int) -> InjectError | None:
        """The first rule that makes a request of `kind` fail, or None."""
        for rule in self._active:
            at = rule.sector * SECTOR
            somewhere = rule.sector == -1 or (length and offset <= at < offset + length)
            if somewhere and kind in rule.kinds:
                if not rule.errno:
                    return None
                if rule.once:
                    self._active.remove(rule)
                    self._rules[rule.event].remove(rule)
                return rule
        return None

    # Breakpoints

    def add_breakpoint(self, event: str, tag: str) -> None:
        """Suspend the next request at `event`.

        :raises BlockIOError: ENOENT if there is no such event
        """
        if event not in EVENTS:
            raise BlockIOError(errno.ENOENT)
        self.add(Breakpoint(event, 0, tag))

    def remove_breakpoints(self, tag: str) -> bool:
        """Remove all breakpoints with this tag; returns whether there were any."""
        found = False
        for rules in self._rules.values():
            for rule in list(rules):
                if isinstance(rule, Breakpoint) and rule.tag == tag:
                    rules.remove(rule)
                    found = True
        return found

    def taken(self, tag: str, *, every: bool) -> Iterator[Suspended]:
        """Take the newest request suspended with `tag`, or all of them, off the list."""
        for request in list(self._suspended):
            if request.tag == tag:
                self._suspended.remove(request)
                yield request
                if not every:
                    return

    def watch(self, waiter: Waiter) -> None:
        """Wake `waiter` when the next request is suspended."""
        self._watchers.append(waiter)

    def _tell(self) -> None:
        watchers, self._watchers = self._watchers, []
        for waiter in watchers:
            waiter.wake()

    def is_suspended(self, tag: str) -> bool:
        """Whether a request is suspended with `tag`."""
        return any(request.tag == tag for request in self._suspended)

    def resume_all(self) -> None:
        """Resume all suspended requests."""
        suspended, self._suspended = self._suspended, NewestFirst()
        for request in suspended:
            request.waiter.wake()


def read_rules(config: str | None, options: Mapping[str, Any]) -> Rules:
    """Read the rules from a config file and from options.

    :param config: contents of the file; None without a file
    :raises GenericError: a rule is malformed
    """
    rules = Rules()
    sections: list[tuple[str, Mapping[str, Any]]] = []
    if config is not None:
        sections += parse_config(config, {"inject-error": _INJECT, "set-state": _SET})
    for kind in ("inject-error", "set-state"):
        sections += [(kind, given) for given in options.get(kind, ())]
    # All errors first, then all changes of state (read_config).
    for wanted in ("inject-error", "set-state"):
        for kind, given in sections:
            if kind == wanted:
                rules.add(_rule(kind, given))
    return rules


_INJECT: Final = {
    "event": str,
    "state": int,
    "iotype": str,
    "errno": int,
    "sector": int,
    "once": bool,
    "immediately": bool,
}
_SET: Final = {"event": str, "state": int, "new_state": int}


_KINDS: Final = {str: Kind.STRING, int: Kind.NUMBER, bool: Kind.BOOL}


def _rule(kind: str, given: Mapping[str, Any]) -> Rule:
    event = given.get("event")
    if event is None:
        raise GenericError("Missing event name for rule")
    if event not in EVENTS:
        raise GenericError(f"invalid parameter value: {event}")
    state = as_int(given.get("state", 0))
    if kind == "set-state":
        return SetState(event, state, as_int(given.get("new_state", 0)))
    iotype = given.get("iotype")
    if iotype is not None and iotype not in KINDS:
        raise GenericError(f"invalid parameter value: {iotype}")
    return InjectError(
        event,
        state,
        _DEFAULT_KINDS if iotype is None else frozenset({iotype}),
        as_int(given.get("errno", errno.EIO)),
        given.get("sector", -1),
        given.get("once", False),
        given.get("immediately", False),
    )


def take_rules(flat: FlatOptions) -> dict[str, list[dict[str, Any]]]:
    """Take the rules out of options as ``-drive`` has them (``config_parse_qdict_section``).

    :raises GenericError: one has an option that there is not, or that cannot be read
    """
    found = {}
    for name, members in (("inject-error", _INJECT), ("set-state", _SET)):
        kinds = {member: _KINDS[kind] for member, kind in members.items()}
        below = flat.extract(name)
        if not below:
            continue
        given = below.take(kinds)
        if given and below:
            raise GenericError(f"Unknown option '{next(iter(QDict(below)))}' for [{name}]")
        found[name] = [given] if given else _take_list(below, name, kinds)
    return found


def _take_list(below: FlatOptions, name: str, kinds: Mapping[str, Kind]) -> list[dict[str, Any]]:
    rules: list[Any] = []
    while (index := str(len(rules))) in below or any(key.startswith(index + ".") for key in below):
        section = below.extract(index)
        if (index in below) == bool(section):
            break
        rules.append(section or below.pop(index))
    if below:
        raise GenericError(f"Unused option '{next(iter(QDict(below)))}' for [{name}]")
    taken = []
    for number, section in enumerate(rules):
        if not isinstance(section, FlatOptions):
            raise GenericError(f"[{name}] section (index {number}) does not consist of keys")
        taken.append(section.take(kinds))
        if section:
            option = next(iter(QDict(section)))
            raise GenericError(f"[{name}] section doesn't support the option '{option}'")
    return taken
