"""The migrations of one machine: that to another one, and that from another one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.run_state import RunState
from qmpd.errors import GenericError, NotServed, QmpError
from qmpd.machine.migration.address import check_transport, main_address, parse_uri
from qmpd.machine.migration.capabilities import Capabilities
from qmpd.machine.migration.incoming import Incoming
from qmpd.machine.migration.outgoing import Outgoing
from qmpd.machine.migration.parameters import Parameters
from qmpd.machine.migration.status import END_OF_MEMORY, Progress

if TYPE_CHECKING:
    from qmpd.base.descriptor import Descriptor
    from qmpd.machine.migration.address import Address
    from qmpd.machine.migration.guest import Guest

TakeDescriptor = Callable[[str], "Descriptor"]

LOG = logging.getLogger("qmpd.migration")

_UNSERVED: Final = ("block", "multifd", "postcopy-preempt", "background-snapshot", "x-colo")
"""Capabilities that need what qmpd has not: connections for memory, or a second machine's pace."""


def _complain(text: str) -> None:
    LOG.error("%s", text)


class _NoProtocol(GenericError):
    """A URI is of none of the protocols: the migration fails, and keeps no reason."""


class Migration:
    """What a machine's migrations may do, and how they stand.

    :param guest: the machine
    :param capabilities: none of them is set
    :param parameters: all have their defaults
    """

    def __init__(self, guest: Guest, capabilities: Capabilities, parameters: Parameters) -> None:
        self._guest = guest
        self.capabilities = capabilities
        self.parameters = parameters
        self.outgoing: Outgoing | None = None
        self._saved: dict[str, object] = {}
        """MigrationInfo of the state that was saved for a snapshot, if no migration came later."""
        settings = self.capabilities, self.parameters
        self.incoming = Incoming(guest, *settings, self._tell, _complain)
        self._incoming_begun = False

    def _tell(self, state: str) -> None:
        """``migrate_generate_event``."""
        if self.capabilities["events"]:
            self._guest.services.emit("MIGRATION", {"status": state})

    @property
    def running(self) -> bool:
        """Whether a migration to another machine is under way."""
        return self.outgoing is not None and self.outgoing.running

    @property
    def yankable(self) -> bool:
        """Whether there is a connection that could hang, or one is waited for."""
        return self.running or self.incoming.under_way

    def info(self) -> dict[str, Any]:
        """MigrationInfo."""
        info = self.incoming.info()
        if self.outgoing is not None:
            info.update(self.outgoing.info())
        info.update(self._saved)
        if blockers := self._guest.unmigratable():
            # QEMU tells the newest first
            info["blocked-reasons"] = [
                f"non-migratable device: {device}" for device in reversed(blockers)
            ]
        return info

    def save_state(self, size: int, *, passes: int, told: bool) -> None:
        """The state is saved for a snapshot, as by a migration (``qemu_savevm_state``).

        :param size: bytes that it has
        :param passes: how often memory, of which there is none, is looked through
        :param told: whether events tell of that
        :raises GenericError: a migration is under way
        """
        self._check_idle()
        self.outgoing = None
        self._tell("setup")
        if told and self.capabilities["events"]:
            for number in range(passes):
                self._guest.services.emit("MIGRATION_PASS", {"pass": number + 1})
        progress = Progress(0)
        progress.end(0)
        progress.transferred = progress.downtime_bytes = END_OF_MEMORY
        progress.transferred += size
        progress.passes = passes
        self._saved = {"status": "completed", **progress.info("completed", 0)}
        self._tell("completed")

    def threads(self) -> list[dict[str, object]]:
        """MigrationThreadInfo of what QEMU has a thread for."""
        if not self.running:
            return []
        return [{"name": "mig/src/main", "thread-id": self._guest.services.thread_id}]

    # Settings

    def set_capabilities(
        self, changes: Iterable[Mapping[str, Any]], warn: Callable[[str], None] | None = None
    ) -> None:
        """Command migrate-set-capabilities.

        :param changes: MigrationCapabilityStatus of each that changes
        :param warn: takes warnings; they go to standard error without it
        :raises GenericError: they exclude each other, or one is not possible now
        """
        self._check_idle()
        report = self._guest.services.say.report if warn is None else warn
        self.capabilities.set(
            changes,
            plain=self.parameters.plain,
            incoming_started=self.incoming.listening,
            warn=lambda text: report(f"warning: {text}"),
        )

    def set_parameters(self, changes: Mapping[str, Any]) -> None:
        """Command migrate-set-parameters.

        :param changes: MigrateSetParameters
        :raises GenericError: a value is not allowed
        """
        self.parameters.set(changes, self.capabilities.__getitem__)
        if self.outgoing is not None:
            self.outgoing.wake()

    def _check_idle(self) -> None:
        if self.running:
            raise GenericError("There's a migration process in progress")

    # To another machine

    def migrate(
        self,
        uri: str | None,
        channels: Sequence[Mapping[str, Any]] | None,
        *,
        resume: bool = False,
        take: TakeDescriptor | None = None,
        looks_last: bool = False,
    ) -> None:
        """Command migrate: begin.

        :param looks_last: whether the URI is looked at when the migration has begun
        :param take: takes a descriptor that the client has handed over, by its name
        :raises QmpError: it cannot be begun
        """
        address: Address | None = None
        if not looks_last:
            address = self._target(uri, channels)
            check_transport(address, self.capabilities.__getitem__, self.parameters["mode"])
            self._check_target(channels)
        self._prepare(resume=resume)
        guest = self._guest
        settings = self.capabilities, self.parameters
        self._saved = {}
        self.outgoing = outgoing = Outgoing(guest, *settings, self._tell, _complain)
        try:
            if address is None:
                address = self._former_target(outgoing, uri)
            outgoing.dial = guest.host.open_stream(
                _with_descriptor(address, take), outgoing.connect, outgoing.not_connected
            )
        except _NoProtocol:
            raise
        except QmpError as error:
            outgoing.refused(error)
            raise

    def _former_target(self, outgoing: Outgoing, uri: str | None) -> Address:
        """What a URI means, where nobody has looked at it before."""
        if uri is None:
            raise GenericError("Parameter 'uri' is missing")
        if uri.startswith("fd:"):
            return {"transport": "socket", "type": "fd", "str": uri.removeprefix("fd:")}
        if not uri.startswith(("tcp:", "unix:", "vsock:", "exec:", "rdma:")):
            outgoing.set_state("failed")  # without a reason
            raise _NoProtocol("Parameter 'uri' expects a valid migration protocol")
        return parse_uri(uri)

    def _target(self, uri: str | None, channels: Sequence[Mapping[str, Any]] | None) -> Address:
        if (uri is None) == (not channels):
            raise GenericError("need either 'uri' or 'channels' argument")
        if uri is not None:
            return parse_uri(uri)
        assert channels is not None
        by_type: dict[str, Address] = {}
        for channel in channels:
            kind = channel["channel-type"]
            if kind in by_type:
                raise GenericError(f"Channel list has more than one {kind} entry")
            by_type[kind] = channel["addr"]
        if "main" not in by_type:
            raise GenericError("Channel list has no main entry")
        return by_type["main"]

    def _check_target(self, channels: Sequence[Mapping[str, Any]] | None) -> None:
        mode = self.parameters["mode"]
        if mode == "cpr-transfer":
            if not any(channel["channel-type"] == "cpr" for channel in channels or ()):
                raise GenericError("missing 'cpr' migration channel")
            raise NotServed("Migration of mode 'cpr-transfer' is not served by qmpd")
        if mode == "cpr-exec":
            raise NotServed("Migration of mode 'cpr-exec' is not served by qmpd")

    def _prepare(self, *, resume: bool) -> None:
        """``migrate_prepare``."""
        if resume:
            if self.outgoing is None or self.outgoing.state != "postcopy-paused":
                raise GenericError("Cannot resume if there is no paused migration")
            raise NotServed("Resuming a postcopy migration is not served by qmpd")
        self._check_idle()
        if self._guest.run_state is RunState.INMIGRATE:
            raise GenericError("Guest is waiting for an incoming migration")
        if self._guest.run_state is RunState.POSTMIGRATE:
            raise GenericError("Can't migrate the vm that was paused due to previous migration")
        for device in self._guest.unmigratable():
            raise GenericError(f"State blocked by non-migratable device '{device}'")
        self._check_settings()

    def _check_settings(self) -> None:
        may = self.capabilities
        if may["mapped-ram"] and not self.parameters.plain:
            tls = bool(self.parameters["tls-creds"])
            raise GenericError(f"Cannot use {'TLS' if tls else 'compression'} with mapped-ram")
        if self.parameters["mode"] != "normal":
            conflicts = (
                ("postcopy", may["postcopy-ram"] or may["dirty-bitmaps"]),
                ("background snapshot", may["background-snapshot"]),
                ("COLO", may["x-colo"]),
            )
            for name, given in conflicts:
                if given:
                    raise GenericError(f"Cannot use {name} with CPR")
        self._check_served()

    def _check_served(self) -> None:
        """Refuse what QEMU would do and qmpd does not."""
        for name in _UNSERVED:
            if self.capabilities[name]:
                raise NotServed(f"Migration with capability '{name}' is not served by qmpd")
        if self.parameters["tls-creds"]:
            raise NotServed("Migration over TLS is not served by qmpd")

    def cancel(self) -> None:
        """Command migrate_cancel."""
        if self.outgoing is not None:
            self.outgoing.cancel()

    def go_on(self, state: str) -> None:
        """Command migrate-continue.

        :raises GenericError: the migration does not wait in `state`
        """
        present = self._saved.get("status", "none")
        if self.outgoing is not None:
            present = self.outgoing.state
        if present != state:
            raise GenericError(f"Migration not in expected state: {present}")
        if self.outgoing is None:
            return
        self.outgoing.go_on()

    def start_postcopy(self) -> None:
        """Command migrate-start-postcopy.

        :raises GenericError: there has been no migration, or it may not
        """
        if not (self.capabilities["postcopy-ram"] or self.capabilities["dirty-bitmaps"]):
            raise GenericError(
                "Enable postcopy with migrate_set_capability before the start of migration"
            )
        if self.outgoing is None:
            raise GenericError("Postcopy must be started after migration has been started")
        self.outgoing.postcopy_wanted = True
        self.outgoing.wake()

    # From another machine

    def receive(
        self,
        uri: str | None,
        channels: Sequence[Mapping[str, Any]] | None,
        *,
        exit_on_error: bool = True,
        take: TakeDescriptor | None = None,
    ) -> None:
        """Command migrate-incoming: wait for the stream of another machine.

        :param exit_on_error: whether the process ends if it cannot be loaded
        :param take: takes a descriptor that the client has handed over, by its name
        :raises QmpError: the machine does not wait for one, or it cannot come from there
        """
        if self._incoming_begun:
            raise GenericError("The incoming migration has already been started")
        if self._guest.run_state is not RunState.INMIGRATE:
            raise GenericError("'-incoming' was not specified on the command line")
        address = main_address(uri, channels)
        check_transport(address, self.capabilities.__getitem__, self.parameters["mode"])
        self._check_served()
        if address.get("str", "")[:1] in tuple("0123456789"):
            take = None
        self.incoming.begin(lambda: _with_descriptor(address, take), exit_on_error=exit_on_error)
        self._incoming_begun = True

    # Both

    def yank(self) -> None:
        """Cut the connections."""
        if self.running:
            assert self.outgoing is not None
            self.outgoing.cut()
        self.incoming.cut()

    async def abandon(self) -> None:
        """The machine ends (``migration_shutdown``)."""
        if self.outgoing is not None:
            await self.outgoing.abandon()
        self.incoming.abandon()


def _with_descriptor(address: Address, take: TakeDescriptor | None) -> Address:
    """An address whose descriptor, where it names one, has been taken from the client.

    :raises GenericError: no client has handed it over
    """
    if address["transport"] != "socket" or address["type"] != "fd" or take is None:
        return address
    return {**address, "descriptor": take(address["str"])}
