"""Where versions of QEMU differ beyond their schemas: each difference is a rule with a name.

A rule says what holds in which versions, and who says so.  Nothing else in qmpd knows a version:
what is written for the default version (`qmpd.profile.profile.FORM`) is brought into the form of
another one here, where replies, events and errors leave the machine, or asks the profile whether a
rule holds.

There are four kinds:

* one with a `Rewording` gives an error, or a line of the human monitor, the words that another
  version had for it
* one with a `Completion` adds a member that the default version no longer tells
* one with `MonitorNames` has names that only some versions' human monitors know
* one without either is asked for by its name (`Rules.holds`)

Versions that were not measured have the rules of the one that they behave as (`Profile`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from qmpd.base.scalars import SizeForm
from qmpd.errors import ERROR_CLASSES
from qmpd.profile.block_rules import BLOCK_RULES, BlockName
from qmpd.profile.device_rules import DEVICE_RULES, DeviceName
from qmpd.profile.export_rules import EXPORT_RULES, ExportName
from qmpd.profile.job_rules import JOB_RULES, JobName
from qmpd.profile.monitor_rules import MONITOR_RULES, MonitorName
from qmpd.profile.option_rules import OPTION_RULES, OptionName
from qmpd.profile.program_rules import PROGRAM_RULES, ProgramName
from qmpd.profile.request_rules import REQUEST_RULES, RequestName
from qmpd.profile.rule import (
    Completion,
    MonitorNames,
    Release,
    Rewording,
    Rule,
    Touch,
    Words,
    line,
)

if TYPE_CHECKING:
    from qmpd.errors import QmpError


def _bitmap_status(info: Mapping[str, Any]) -> str:
    """DirtyBitmapStatus of a BlockDirtyInfo (`bdrv_dirty_bitmap_status` of QEMU 5.2)."""
    if info.get("inconsistent"):
        return "inconsistent"
    if info["busy"]:
        # a bitmap with a successor is frozen, one in use otherwise is locked
        return "frozen" if info["recording"] else "locked"
    return "active" if info["recording"] else "disabled"


_RUN_5_2: Final = "seen on 5.2, not on 7.2"
_RUN_7_2: Final = "seen on 5.2 and 7.2, not on 10.0"

RULES: Final[Sequence[Rule]] = (
    Rule(
        "no-such-node",
        "A node or device that is not there is told of without quotes",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"Cannot find device='(.*)' nor node-name='(.*)'",
            words=r"Cannot find device=\1 nor node_name=\2",
        ),
    ),
    Rule(
        "duplicate-node",
        "A node name that is taken is not told",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"(Could not create node: )?Duplicate nodes with node-name='.*'",
            words="Duplicate node name",
        ),
    ),
    Rule(
        "invalid-node-name",
        "A node name that is malformed is not told",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"(Could not create node: )?Invalid node-name: '.*'",
            words="Invalid node name",
        ),
    ),
    Rule(
        "bitmaps-of-different-sizes",
        "Why bitmaps cannot be merged is not told",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"Bitmaps are of different sizes \(.*\) and can't be merged",
            words="Bitmaps are incompatible and can't be merged",
        ),
    ),
    Rule(
        "duplicate-device",
        "The id of a device that is taken is told as any other id",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"Duplicate device ID '(.*)'",
            words=r"Duplicate ID '\1' for device",
        ),
    ),
    Rule(
        "find-node",
        "A node that is not there is told of by its bare name, where no device is meant",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"Failed to find node with node-name='(.*)'",
            words=r"Cannot find node \1",
        ),
    ),
    Rule(
        "nameless-device",
        "A device with an empty name is not found, rather than no device",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"^ is not a device$",
            words="Device '' not found",
            error_class="DeviceNotFound",
        ),
    ),
    Rule(
        "not-a-device",
        "What is no device is not told from what cannot be plugged in",
        _RUN_7_2,
        last=(7, 2),
        change=Rewording(pattern=r" is not a device$", words=" is not a hotpluggable device"),
    ),
    Rule(
        "overlay-without-name",
        "The node-name of an overlay that is missed or taken is called node name",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"^New overlay node-name (missing|already in use)$",
            words=r"New overlay node name \1",
        ),
    ),
    Rule(
        "base-not-found",
        "A base that is not in the backing chain is not said to be missed there",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"^Can't find '(.*)' in the backing chain$", words=r"Base '\1' not found"
        ),
    ),
    Rule(
        "x-exit-preconfig",
        "x-exit-preconfig and set-numa-node name the state in which they are permitted",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=(
                r"^The command is permitted only before"
                r" (machine initialization|the machine has been created)$"
            ),
            words="The command is permitted only in 'preconfig' state",
        ),
    ),
    Rule(
        "transaction-property",
        "Properties of a transaction have a capital letter",
        _RUN_7_2,
        last=(7, 2),
        change=Rewording(
            pattern=r"^(Action '.*' does not support) transaction property",
            words=r"\1 Transaction property",
        ),
    ),
    Rule(
        "encryption-key",
        "query-block and query-named-block-nodes tell encryption_key_missing, always false",
        "removed-features.rst: removed in 6.0",
        last=(5, 2),
        change=Completion(
            type="BlockDeviceInfo",
            member="encryption_key_missing",
            value=lambda _: False,
        ),
    ),
    Rule(
        "bitmap-status",
        "Dirty bitmaps have a status",
        "removed-features.rst: removed in 6.0",
        last=(5, 2),
        change=Completion(
            type="BlockDirtyInfo",
            member="status",
            value=_bitmap_status,
        ),
    ),
    Rule(
        "bitmaps-of-a-device",
        "query-block lists bitmaps beside inserted, too",
        "removed-features.rst: removed in 6.0",
        last=(5, 2),
        change=Completion(
            type="BlockInfo",
            member="dirty-bitmaps",
            value=lambda info: info.get("inserted", {}).get("dirty-bitmaps"),
        ),
    ),
    Rule(
        "arch",
        "query-cpus-fast tells arch",
        "removed-features.rst: removed in 6.0",
        last=(5, 2),
        change=Completion(type="CpuInfoFast", member="arch", value=lambda _: "x86"),
    ),
    Rule(
        "singlestep",
        "query-status tells singlestep, false without a guest",
        "removed-features.rst: removed in 9.0",
        last=(8, 2),
        change=Completion(
            type="StatusInfo",
            member="singlestep",
            value=lambda _: False,
        ),
    ),
    Rule(
        "transactions-go-in-their-order",
        "Actions are committed in their order; one that cannot be grouped is refused at its turn",
        _RUN_7_2,
        last=(7, 2),
        touches=("transaction.properties",),
    ),
    Rule(
        "processors-tell-their-type",
        "query-cpus-fast tells the types of processors, and info cpus their models",
        "QAPI documentation: since 10.1",
        first=(10, 1),
        touches=(line("info cpus"),),
    ),
    Rule(
        "throttle-groups-with-references",
        "object-del says of a throttle group that it has references",
        "seen on 11.1, not on 10.0",
        first=(11, 1),
        touches=(Touch("object-del", answer="^object '.*' is in use|throttle group '.*' with"),),
    ),
    *BLOCK_RULES,
    *DEVICE_RULES,
    *JOB_RULES,
    *EXPORT_RULES,
    *MONITOR_RULES,
    *PROGRAM_RULES,
    *OPTION_RULES,
    *REQUEST_RULES,
)
"""All rules, in the order in which rewordings are tried."""

Name = (
    Literal[
        "throttle-groups-with-references",
        "processors-tell-their-type",
        "transactions-go-in-their-order",
    ]
    | BlockName
    | DeviceName
    | JobName
    | ExportName
    | MonitorName
    | ProgramName
    | OptionName
    | RequestName
)
"""The names of rules that are asked for."""


ERROR_MEMBERS: Final[Mapping[str, str]] = {
    "BlockJobCompletedData": "error",
    "BlockJobInfo": "error",
    "JobInfo": "error",
    "MigrationInfo": "error-desc",
}
"""Types with a member that is the text of an error."""


class Rules:
    """The rules that hold in one version.

    :param release: the version
    """

    def __init__(self, release: Release) -> None:
        held = [rule for rule in RULES if rule.holds(release)]
        self._names = frozenset(rule.name for rule in held)
        changes = [rule.change for rule in held]
        self._rewordings = [c for c in changes if isinstance(c, Rewording) and c.of == "errors"]
        self._monitor = [c for c in changes if isinstance(c, Rewording) and c.of == "monitor"]
        self._release = release
        self.completions: dict[str, list[Completion]] = {}
        for change in changes:
            if isinstance(change, Completion):
                self.completions.setdefault(change.type, []).append(change)

    def holds(self, name: Name) -> bool:
        """Whether the rule called `name` holds."""
        return name in self._names

    def has(self, rule: Rule) -> bool:
        """Whether a rule holds."""
        return rule.name in self._names

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], Words]]:
        return [(re.compile(rule.pattern), rule.words) for rule in self._rewordings]

    @cached_property
    def _monitor_patterns(self) -> list[tuple[re.Pattern[str], Words]]:
        return [(re.compile(rule.pattern, re.M), rule.words) for rule in self._monitor]

    @property
    def rewords_monitor(self) -> bool:
        """Whether this one's human monitor has words of its own."""
        return bool(self._monitor)

    @cached_property
    def sizes(self) -> SizeForm:
        """How sizes are written."""
        if self.holds("sizes-by-strtod"):
            return SizeForm.STRTOD
        return SizeForm.DIGITS if self.holds("sizes-begin-with-digits") else SizeForm.PLAIN

    @cached_property
    def not_in_monitor(self) -> frozenset[str]:
        """The commands that only other versions' human monitors know."""
        named = [(rule, rule.change) for rule in RULES if isinstance(rule.change, MonitorNames)]
        here = [change.names for rule, change in named if rule.holds(self._release)]
        return frozenset().union(*(change.names for _, change in named)).difference(*here)

    def words(self, text: str) -> str:
        """An error of the default version in the words of this one."""
        for (pattern, words), rule in zip(self._patterns, self._rewordings, strict=True):
            if rule.command is None:
                text = pattern.sub(words, text)
        return text

    def monitor_words(self, text: str) -> str:
        """A text of the default version's human monitor in the words of this one's."""
        for pattern, words in self._monitor_patterns:
            text = pattern.sub(words, text)
        return text

    def in_its_words(self, error: QmpError, command: str) -> QmpError:
        """`error` of a command in the words of this version."""
        for (pattern, words), rule in zip(self._patterns, self._rewordings, strict=True):
            if rule.command not in (None, command):
                continue
            text, count = pattern.subn(words, error.desc)
            if count:
                error.desc = text
                if rule.error_class is not None:
                    error = ERROR_CLASSES[rule.error_class](text, error.hint)
        return error

    def complete(self, type_name: str, value: dict[str, Any]) -> None:
        """Add to `value`, an object of a type, what only this version tells, in its words."""
        member = ERROR_MEMBERS.get(type_name)
        if member in value:
            value[member] = self.words(value[member])
        for rule in self.completions.get(type_name, ()):
            made = rule.value(value)
            if made is not None:
                value[rule.member] = made
