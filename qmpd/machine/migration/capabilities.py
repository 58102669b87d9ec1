"""What a migration may do, and which capabilities exclude each other (``migrate_caps_check``)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from qmpd.errors import GenericError
from qmpd.machine.migration.refusing import refuse

NAMES: Final = (
    "xbzrle",
    "rdma-pin-all",
    "auto-converge",
    "zero-blocks",
    "compress",
    "events",
    "postcopy-ram",
    "x-colo",
    "release-ram",
    "block",
    "return-path",
    "pause-before-switchover",
    "multifd",
    "dirty-bitmaps",
    "postcopy-blocktime",
    "late-block-activate",
    "x-ignore-shared",
    "validate-uuid",
    "background-snapshot",
    "zero-copy-send",
    "postcopy-preempt",
    "switchover-ack",
    "dirty-limit",
    "mapped-ram",
)
"""All capabilities of all versions, in the order of the schema."""

_NOT_IN_BACKGROUND: Final = (
    "postcopy-ram",
    "dirty-bitmaps",
    "postcopy-blocktime",
    "late-block-activate",
    "return-path",
    "multifd",
    "pause-before-switchover",
    "auto-converge",
    "release-ram",
    "rdma-pin-all",
    "compress",
    "xbzrle",
    "x-colo",
    "validate-uuid",
    "zero-copy-send",
)
"""What background-snapshot excludes, in the order that it is told."""


class Capabilities:
    """The capabilities of one machine's migrations; all are off at first.

    :param known: those that its version has; the others stay off
    :param checks_multifd: whether multifd excludes what compresses memory
    :param joins_multifd: whether it goes with postcopy
    :param returns_colo: whether x-colo requires return-path
    """

    def __init__(
        self,
        known: Collection[str],
        *,
        checks_multifd: bool,
        joins_multifd: bool,
        returns_colo: bool,
    ) -> None:
        self._checks_multifd = checks_multifd
        self._joins_multifd = joins_multifd
        self._returns_colo = returns_colo
        self._states = dict.fromkeys(NAMES, False)
        self._known = known

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __getitem__(self, name: str) -> bool:
        return self._states[name]

    def statuses(self) -> list[dict[str, object]]:
        """MigrationCapabilityStatus of each."""
        return [
            {"capability": name, "state": state}
            for name, state in self._states.items()
            if name in self._known
        ]

    def set(
        self,
        changes: Iterable[Mapping[str, Any]],
        *,
        plain: bool,
        incoming_started: bool,
        warn: Callable[[str], None],
    ) -> None:
        """Change some of them, or none (``qmp_migrate_set_capabilities``).

        :param changes: MigrationCapabilityStatus of each that changes; the last one counts
        :param plain: whether data goes neither compressed nor by TLS, as zero copy needs it
        :param incoming_started: whether the machine listens for a stream
        :param warn: is told what is deprecated
        :raises GenericError: they exclude each other, or one is not possible
        """
        wanted = dict(self._states)
        wanted.update((change["capability"], change["state"]) for change in changes)
        if wanted["zero-blocks"]:
            warn("zero-blocks capability is deprecated")
        self._check(wanted, plain=plain, incoming_started=incoming_started)
        self._states = wanted

    def _check(self, wanted: Mapping[str, bool], *, plain: bool, incoming_started: bool) -> None:
        refuse(
            self._returns_colo and wanted["x-colo"] and not wanted["return-path"],
            "Capability 'x-colo' requires capability 'return-path'",
        )
        if wanted["postcopy-ram"]:
            refuse(wanted["x-ignore-shared"], "Postcopy is not compatible with ignore-shared")
            refuse(
                wanted["multifd"] and not self._joins_multifd,
                "Postcopy is not yet compatible with multifd",
            )
        if wanted["background-snapshot"]:
            for name in _NOT_IN_BACKGROUND:
                refuse(wanted[name], f"Background-snapshot is not compatible with {name}")
        refuse(
            wanted["zero-copy-send"]
            and (not wanted["multifd"] or wanted["compress"] or wanted["xbzrle"] or not plain),
            "Zero copy only available for non-compressed non-TLS multifd migration",
        )
        self._check_connections(wanted, incoming_started)
        refuse(
            wanted["switchover-ack"] and not wanted["return-path"],
            "Capability 'switchover-ack' requires capability 'return-path'",
        )
        _check_dirty_limit(wanted)
        if self._checks_multifd:
            refuse(
                wanted["multifd"] and wanted["compress"], "Multifd is not compatible with compress"
            )
            refuse(wanted["multifd"] and wanted["xbzrle"], "Multifd is not compatible with xbzrle")
        _check_mapped_ram(wanted)

    def _check_connections(self, wanted: Mapping[str, bool], incoming_started: bool) -> None:
        preempt = wanted["postcopy-preempt"]
        refuse(
            preempt and not wanted["postcopy-ram"],
            "Postcopy preempt requires postcopy-ram",
        )
        refuse(
            preempt and not self["postcopy-preempt"] and incoming_started,
            "Postcopy preempt must be set before incoming starts",
        )
        refuse(
            wanted["multifd"] and not self["multifd"] and incoming_started,
            "Multifd must be set before incoming starts",
        )


def _check_dirty_limit(wanted: Mapping[str, bool]) -> None:
    if wanted["dirty-limit"]:
        refuse(
            wanted["auto-converge"],
            "dirty-limit conflicts with auto-converge either of then available currently",
        )
        raise GenericError(
            "dirty-limit requires KVM with accelerator property 'dirty-ring-size' set"
        )


def _check_mapped_ram(wanted: Mapping[str, bool]) -> None:
    if wanted["mapped-ram"]:
        refuse(wanted["xbzrle"], "Mapped-ram migration is incompatible with xbzrle")
        refuse(wanted["postcopy-ram"], "Mapped-ram migration is incompatible with postcopy")
