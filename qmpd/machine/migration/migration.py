"""The migrations of one machine: that to another one, and that from another one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from qmpd.machine.migration.capabilities import Capabilities
from qmpd.machine.migration.parameters import Parameters


class Migration:
    """What a machine's migrations may do, and how they stand.

    :param report: writes a line to standard error
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self.capabilities = Capabilities()
        self.parameters = Parameters()

    def set_capabilities(self, changes: Iterable[Mapping[str, Any]]) -> None:
        """Command migrate-set-capabilities.

        :param changes: MigrationCapabilityStatus of each that changes
        :raises GenericError: they exclude each other, or one is not possible
        """
        self.capabilities.set(
            changes,
            plain=self.parameters.plain,
            incoming_started=False,
            warn=lambda text: self._report(f"warning: {text}"),
        )

    def set_parameters(self, changes: Mapping[str, Any]) -> None:
        """Command migrate-set-parameters.

        :param changes: MigrateSetParameters
        :raises GenericError: a value is not allowed
        """
        self.parameters.set(changes, self.capabilities.__getitem__)
