"""One emulated machine: everything a QMP client can act upon, and nothing shared.

A process may hold any number of machines; a monitor belongs to one.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from qmpd.base.run_state import RunState
from qmpd.block.images.storages import Storages
from qmpd.block.model.services import Services
from qmpd.loop.events import EventBus
from qmpd.machine.answers import Actions, GuestAnswers
from qmpd.machine.complaints import Complaints
from qmpd.machine.config import MachineConfig
from qmpd.machine.host import NoHost
from qmpd.machine.manners import manners
from qmpd.machine.runs import Runs
from qmpd.profile import Personality
from qmpd.profile.event_filter import shown_events

if TYPE_CHECKING:
    from random import Random

    from qmpd.block.images import Storage
    from qmpd.block.model.graph import Graph
    from qmpd.export.exports import BlockExports
    from qmpd.export.nbd.control import NbdControl
    from qmpd.jobs.core.job_list import JobTable
    from qmpd.loop.clocks import Clocks
    from qmpd.loop.secure import Credentials
    from qmpd.machine.devices.device import Device
    from qmpd.machine.devices.tree import DeviceTree
    from qmpd.machine.drives.options import Drives
    from qmpd.machine.guest_side import GuestSide
    from qmpd.machine.host import Host
    from qmpd.machine.migration.migration import Migration
    from qmpd.machine.objects import ObjectContainer
    from qmpd.machine.parts import Parts


class Machine(Runs):
    """A machine, running from the start unless told otherwise.

    :param clocks: its time, and what runs its tasks
    :param storage: where the bytes of its images live
    :param config: what it is
    :param host: the process that it lives in
    :param random: where names that it makes up come from
    :param thread_id: what queries tell as the id of its threads
    """

    guest: GuestAnswers | None = None
    """The guest; without one nobody answers."""

    def __init__(
        self,
        clocks: Clocks,
        storage: Storage,
        config: MachineConfig | None = None,
        *,
        host: Host | None = None,
        random: Random,
        thread_id: int,
    ) -> None:
        config = MachineConfig() if config is None else config
        self.profile = config.profile
        self.personality = config.personality
        self.name = config.name
        self.uuid = config.uuid
        self.compat = config.compat
        self.cpus = config.cpus
        self.host: Host = NoHost() if host is None else host
        self.clock = clocks.realtime
        self.complaints = Complaints(self.host, config.profile.rules)
        self.events = EventBus(clocks.host, shown_events(config.profile, config.compat))
        self.services = Services(
            loop=clocks.realtime,
            clocks=clocks,
            emit=self.events.emit,
            storage=Storages(storage, has_fdsets=config.personality is Personality.SYSTEM),
            random=random,
            say=self.complaints.say(),
            parse_json=config.profile.parse_json,
            thread_id=thread_id,
            manners=manners(config.profile.rules),
            connect=self.host.connect,
            credentials=self._credentials,
        )
        self.actions = Actions()
        self._board = config.board
        self.creation_done = False
        """Whether it has been built, as ``qdev_machine_creation_done`` says."""
        self.in_preconfig = config.preconfig
        self.autostart = not config.paused
        """Whether the guest starts by itself, as soon as it can."""
        self.only_migratable = config.only_migratable
        self.run_state = RunState.INMIGRATE if config.incoming else RunState.PRELAUNCH
        if config.preconfig and config.profile.rules.holds("run-state-preconfig"):
            self.run_state = RunState.PRECONFIG
        self.shutdown_reason: str | None = None
        self._close_failure: Exception | None = None
        if self.autostart and not config.preconfig and not config.incoming:
            self.run_state = RunState.RUNNING

    def _credentials(self, object_id: str, endpoint: str) -> Credentials:
        return self.parts.credentials(object_id, endpoint)

    @cached_property
    def parts(self) -> Parts:
        """What it is made of, built when something first asks for it."""
        from qmpd.machine.parts import Parts

        parts = Parts(self, self.services, self.host, self._board, self.profile.rules)
        parts.graph.incoming = self.run_state is RunState.INMIGRATE
        parts.graph.refuses_aes = self.personality is Personality.SYSTEM
        return parts

    @cached_property
    def graph(self) -> Graph:
        """Its nodes and backends."""
        return self.parts.graph

    @cached_property
    def exports(self) -> BlockExports:
        """Its block exports."""
        return self.parts.exports

    @cached_property
    def nbd(self) -> NbdControl:
        """Its NBD server."""
        return self.parts.nbd

    @cached_property
    def jobs(self) -> JobTable:
        """Its jobs."""
        return self.parts.jobs

    @property
    def jobs_at_work(self) -> bool:
        """Whether any job is not over and done with."""
        return "parts" in self.__dict__ and self.parts.jobs_at_work

    @cached_property
    def objects(self) -> ObjectContainer:
        """Its user-creatable objects."""
        return self.parts.objects

    @cached_property
    def devices(self) -> DeviceTree:
        """Its devices."""
        return self.parts.devices

    @cached_property
    def drives(self) -> Drives:
        """Its drives."""
        return self.parts.drives

    @cached_property
    def migration(self) -> Migration:
        """Its migrations."""
        from qmpd.machine.migration.migration import Migration
        from qmpd.machine.migration.settings import capabilities_of, parameters_of

        return Migration(self, capabilities_of(self.profile), parameters_of(self.profile))

    @cached_property
    def guest_side(self) -> GuestSide:
        """What clients see around its guest."""
        from qmpd.machine.guest_side import GuestSide

        recorded = self.profile.recorded(self.personality)
        return GuestSide(self.services, self.host, self.devices, recorded)

    async def set_disks_active(self, active: bool) -> None:
        """Take all images back, or give all up; see `Parts`."""
        await self.parts.set_active(active)

    def unmigratable(self) -> list[str]:
        """The devices whose state cannot be saved."""
        return self.parts.unmigratable()

    @property
    def machine_type(self) -> str:
        """The full name of its machine type."""
        return "none" if self._board is None else self._board.model

    def restart(self) -> None:
        """Reset the guest's devices without an event, as loading a snapshot does."""
        self.parts.drop_requests()

    def vm_state(self) -> bytes:
        """What its snapshots keep for its state: a mark that is none of the real program's."""
        if self._board is None or not self._board.memory:
            return b""
        return f"{self.profile.package}: {self._board.model}, without memory\n".encode()

    def save_state(self) -> None:
        """Save the state for a snapshot, as a migration that is over at once.

        :raises GenericError: another one is under way
        """
        once = self.profile.rules.holds("saved-state-is-passed-once")
        self.migration.save_state(len(self.vm_state()), passes=1 if once else 2, told=not once)

    def chardevs(self) -> list[str]:
        """The ids of the character devices of its process."""
        return [info["label"] for info in self.host.chardevs.infos()]

    def chardev_is_open(self, label: str) -> bool:
        """Whether there is somebody at the far end of a character device."""
        names = {info["label"]: info["filename"] for info in self.host.chardevs.infos()}
        return not names.get(label, "null").startswith(("disconnected:", "null"))

    def ask_to_unplug(self, device: Device) -> None:
        """Ask the guest, if there is one, to let go of a device."""
        if self.guest is not None:
            self.guest.unplug_requested(device)

    def request_shutdown(self, reason: str) -> None:
        """Begin to end: SHUTDOWN (system emulator only), and the host is told.

        :param reason: ``host-qmp-quit``, ``host-signal``, ...; the first one counts
        """
        if self.shutdown_reason is None:
            self.announce_end(reason)
            self.host.shut_down(reason)

    def announce_end(self, reason: str) -> None:
        """Say that the machine is about to end, unless that has been said.

        :param reason: see `request_shutdown`
        """
        if self.shutdown_reason is None:
            self.shutdown_reason = reason
            self.emit_shutdown(reason)

    def emit_shutdown(self, reason: str) -> None:
        """Emit SHUTDOWN, as the system emulator does."""
        if self.personality is Personality.SYSTEM:
            guest = reason.startswith("guest-")
            self.events.emit("SHUTDOWN", {"guest": guest, "reason": reason})

    def power_down(self) -> None:
        """Press the power button: POWERDOWN, and the guest may react."""
        self.events.emit("POWERDOWN")
        if self.guest is not None:
            self.guest.powerdown_requested()

    async def end_jobs(self) -> None:
        """Close exports and end all jobs, see `Parts.end_jobs`; a migration is cancelled."""
        if "migration" in self.__dict__:
            await self.migration.abandon()
        await self.parts.end_jobs(has_guest=self.personality is Personality.SYSTEM)

    async def close(self) -> None:
        """End exports and jobs, then close all nodes: images are flushed, bitmaps stored."""
        await self.close_images()
        self.services.storage.close()
        if "guest_side" in self.__dict__:
            self.guest_side.close()
        if self._close_failure is not None:
            raise self._close_failure

    async def close_images(self) -> None:
        """What `close` does, before the answer to ``quit``; a defect of qmpd waits for `close`."""
        self.complaints.closing = True
        if self._closes_nothing:
            self.cut()
        elif "parts" in self.__dict__:
            await self.end_jobs()
            try:
                await self.parts.close()
            except Exception as error:
                self._close_failure = self._close_failure or error

    @property
    def _closes_nothing(self) -> bool:
        """Whether the program simply ends."""
        daemon = self.personality is Personality.STORAGE_DAEMON
        return daemon and self.profile.rules.holds("storage-daemon-closes-nothing")

    def cut(self) -> None:
        """Let go of all images where they are: nothing that is still under way reaches them."""
        if "parts" in self.__dict__:
            self.parts.cut()
        self.services.storage.close()
