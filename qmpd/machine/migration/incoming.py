"""A migration from another machine: what ``process_incoming_migration_co`` does, as a task."""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING, Any

from qmpd.base.override import override
from qmpd.base.run_state import RunState
from qmpd.errors import GenericError, NotServed, QmpError
from qmpd.loop.stream import Channel, Disconnected
from qmpd.machine.migration import stream as form
from qmpd.machine.migration.aliases import by_alias
from qmpd.machine.migration.bitmaps_in import BitmapsIn
from qmpd.machine.migration.global_state import load_global_state
from qmpd.machine.migration.side import MigrationSide
from qmpd.machine.migration.stream import Answer, Command, Input, Package, Section, StreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.machine.host import StreamListener, StreamPeer
    from qmpd.machine.migration.address import Address
    from qmpd.machine.migration.capabilities import Capabilities
    from qmpd.machine.migration.guest import Guest
    from qmpd.machine.migration.parameters import Parameters


class Incoming(MigrationSide):
    """The migration from another machine; there is at most one in a machine's life."""

    def __init__(
        self,
        guest: Guest,
        capabilities: Capabilities,
        parameters: Parameters,
        tell: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        super().__init__(guest, capabilities, parameters, tell, complain)
        self._listener: StreamListener | None = None
        self._channel: Channel | None = None
        self._peer: StreamPeer | None = None
        self._bitmaps = BitmapsIn(guest.graph, complain)
        self._answers = False
        self._advised = False
        self._exit_on_error = True

    def _set_state(self, state: str) -> None:
        self.state = state
        self._tell(state)
        self._wake_over()

    @property
    @override
    def settled(self) -> bool:
        return not self.under_way

    @property
    def listening(self) -> bool:
        """Whether it waits at a socket (``transport_data``)."""
        return self._listener is not None and bool(self._listener.addresses)

    @property
    def under_way(self) -> bool:
        """Whether there is a connection, or one is waited for."""
        return self.state in ("setup", "active", "postcopy-active")

    def info(self) -> dict[str, Any]:
        """MigrationInfo, as far as it is about this migration."""
        info: dict[str, Any] = {} if self.state == "none" else {"status": self.state}
        if self.error is not None:
            info["error-desc"] = self.error
        if self._listener is not None and self._listener.addresses:
            info["socket-address"] = self._listener.addresses
        return info

    # What is done to it

    def begin(self, address: Callable[[], Address], *, exit_on_error: bool) -> None:
        """Wait for the stream.

        :param address: tells where it comes from
        :param exit_on_error: whether the process ends if it cannot be loaded
        :raises QmpError: it cannot come from there
        """
        if self.state != "none":
            raise GenericError(f"Illegal migration incoming state: {self.state}")
        self._exit_on_error = exit_on_error
        self._set_state("setup")
        self._listener = self._guest.host.await_stream(address(), self.connect)

    def connect(self, peer: StreamPeer) -> Channel:
        """There is a connection: begin to load."""
        channel = Channel(peer, self._clock)
        if self._channel is not None:
            self._complain(
                "socket_accept_incoming_migration: Extra incoming migration connection; ignoring"
            )
            channel.cut()
            return channel
        self._peer, self._channel = peer, channel
        self._task = self._clock.spawn(self._run(), "incoming migration")
        return channel

    def cut(self) -> None:
        """Break the connection, as yank does."""
        if self._channel is not None:
            self._channel.closed()

    def abandon(self) -> None:
        """The machine ends: drop bitmaps that are not complete."""
        if self._task is not None:
            self._task.cancel()
        self._bitmaps.cancel()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.end()
        self._leave()

    def _leave(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        if self._channel is not None:
            self._channel.cut()

    # What it does

    async def _run(self) -> None:
        assert self._channel is not None
        self._set_state("active")
        stream = Input(self._channel)
        try:
            for device in self._guest.unmigratable():
                complaint = f"State blocked by non-migratable device '{device}'"
                raise StreamError(errno.EINVAL, complaint)
            await self._load_header(stream)
            await self._load(stream)
            if self.state == "postcopy-active":
                await self._load_rest(stream)
        except (StreamError, Disconnected) as error:
            await self._fail(_told(error, self._complain))
            return
        if self.state == "active":
            await self._start_guest()
        # what has not come does not come any more
        self._bitmaps.cancel()
        self._set_state("completed")
        await self._answer(Answer.SHUT, 0)
        self._leave()

    async def _fail(self, code: int) -> None:
        self._bitmaps.cancel()
        self._set_state("failed")
        self.error = f"load of migration failed: {os.strerror(code)}"
        await self._answer(Answer.SHUT, 1)
        self._leave()
        if self._exit_on_error:
            self._complain(self.error)
            self.error = None
            try:
                self._guest.host.exit(1)
            except NotServed:
                self.error = f"load of migration failed: {os.strerror(code)}"

    async def _answer(self, kind: Answer, value: int) -> None:
        assert self._channel is not None
        if self._answers:
            try:
                await self._channel.write(form.answer(kind, value))
            except Disconnected:
                return

    async def _start_guest(self) -> None:
        """``process_incoming_migration_bh``."""
        self._bitmaps.guest_starts()
        before = RunState.RUNNING if self._before is None else self._before
        if before is not RunState.RUNNING:
            self._guest.run_state = before
        else:
            await self._start_or_pause()

    async def _start_or_pause(self) -> None:
        guest = self._guest
        if not guest.autostart:
            guest.run_state = RunState.PAUSED
            return
        try:
            await guest.set_disks_active(True)
        except QmpError as error:
            self._complain(error.report.rstrip("\n"))
        else:
            guest.start()

    async def _load_rest(self, stream: Input) -> None:
        """What follows when the guest runs already (``postcopy_ram_listen_thread``)."""
        try:
            await self._load(stream)
        except (StreamError, Disconnected) as error:
            code = _told(error, self._complain)
            self._bitmaps.cancel()
            self._complain(
                f"postcopy_ram_listen_thread: loadvm failed during postcopy: {-code}. All states"
                " are migrated except dirty bitmaps. Some dirty bitmaps may be lost, and present"
                " migrated dirty bitmaps are correctly migrated and valid."
            )

    # Sections

    async def _load_header(self, stream: Input) -> None:
        try:
            magic = await stream.number(4)
        except Disconnected:
            magic = 0
        if magic != form.MAGIC:
            raise StreamError(errno.EINVAL, "Not a migration stream")
        version = await stream.number(4)
        if version == form.VERSION_COMPAT:
            raise StreamError(errno.ENOTSUP, "SaveVM v2 format is obsolete and don't work anymore")
        if version != form.VERSION:
            raise StreamError(errno.ENOTSUP, "Unsupported migration stream version")
        if await stream.number(1) != Section.CONFIGURATION:
            raise StreamError(errno.EINVAL, "Configuration section missing")
        length = await stream.number(4)
        name = (await stream.read(min(length, 255))).decode("utf-8", "replace")
        own = f"{form.PREFIX}{self._guest.machine_type}"
        if name != own:
            complaint = f"Machine type received is '{name}' and local is '{own}'"
            raise StreamError(errno.EINVAL, complaint)

    async def _load(self, stream: Input) -> None:
        """Load sections until the stream ends, or the guest may run."""
        while (kind := await stream.number(1)) != Section.EOF:
            if kind == Section.COMMAND:
                if await self._obey(stream):
                    return
            elif kind in (Section.START, Section.FULL, Section.PART, Section.END):
                await self._load_section(stream, begins=kind in (Section.START, Section.FULL))
            else:
                raise StreamError(errno.EINVAL, f"Unknown savevm section type {kind}")

    async def _load_section(self, stream: Input, *, begins: bool) -> None:
        number = await stream.number(4)
        name = next((name for name, known in form.SECTIONS.items() if known == number), None)
        if begins:
            name = await stream.text()
            instance, version = await stream.number(4), await stream.number(4)
            if form.SECTIONS.get(name) != number or instance:
                raise StreamError(
                    errno.EINVAL,
                    f"Unknown savevm section or instance '{name}' {instance}. Make sure that your"
                    " current VM setup matches your saved VM setup, including any hotplugged"
                    " devices",
                )
            if version > 1:
                complaint = f"savevm: unsupported version {version} for '{name}' v1"
                raise StreamError(errno.EINVAL, complaint)
        if name is None:
            raise StreamError(errno.EINVAL, f"Unknown savevm section {number}")
        try:
            await self._load_content(stream, name)
        except StreamError as error:
            if error.complaint is not None:
                self._complain(error.complaint)
            what = (
                f"for instance 0x0 of device '{name}'" if begins else f"section id {number}({name})"
            )
            raise StreamError(error.code, f"error while loading state {what}") from None
        if await stream.number(1) != form.FOOTER:
            raise StreamError(errno.EINVAL, f"Missing section footer for {name}")
        if (found := await stream.number(4)) != number:
            complaint = (
                f"Mismatched section id in footer for {name} - read 0x{found:x} expected"
                f" 0x{number:x}"
            )
            raise StreamError(errno.EINVAL, complaint)

    async def _load_content(self, stream: Input, name: str) -> None:
        if name == form.GLOBAL_STATE:
            self._before = await load_global_state(stream)
            return
        mapping = self._parameters["block-bitmap-mapping"]
        await self._bitmaps.load(stream, None if mapping is None else by_alias(mapping))

    # Commands

    async def _obey(self, stream: Input) -> bool:
        """Do what the source says; returns whether the guest may run."""
        kind, length = struct.unpack(">HH", await stream.read(4))
        data = await stream.read(length)
        if kind == Command.OPEN_RETURN_PATH:
            self._answers = True
        elif kind == Command.PING and len(data) == 4:
            await self._answer(Answer.PONG, int.from_bytes(data, "big"))
        elif kind == Command.POSTCOPY_ADVISE:
            self._advise(data)
        elif kind == Command.PACKAGED and len(data) == 4:
            return await self._unpack(stream, int.from_bytes(data, "big"))
        elif kind == Command.POSTCOPY_LISTEN:
            if not self._advised or self.state != "active":
                raise StreamError(errno.EPERM, "CMD_POSTCOPY_LISTEN in wrong postcopy state (0)")
            self._set_state("postcopy-active")
        elif kind == Command.POSTCOPY_RUN:
            if self.state != "postcopy-active":
                raise StreamError(errno.EPERM, "CMD_POSTCOPY_RUN in wrong postcopy state (0)")
            return True
        else:
            raise StreamError(errno.EINVAL, f"MIG_CMD 0x{kind:x} unknown (len 0x{length:x})")
        return False

    def _advise(self, data: bytes) -> None:
        """``loadvm_postcopy_handle_advise``."""
        memory = self._capabilities["postcopy-ram"]
        if not data and memory:
            raise StreamError(errno.EINVAL, "RAM postcopy is enabled but have 0 byte advise")
        if data and not memory:
            complaint = f"RAM postcopy is disabled but have {len(data)} byte advise"
            raise StreamError(errno.EINVAL, complaint)
        self._advised = True

    async def _unpack(self, stream: Input, length: int) -> bool:
        if length > form.MAX_PACKAGE:
            complaint = f"Unreasonably large packaged state: {length}"
            raise StreamError(errno.EPERM, complaint)
        await self._load(Package(await stream.read(length)))
        if self.state != "postcopy-active":
            return False
        self._bitmaps.guest_starts()
        await self._start_or_pause()
        return True


def _told(error: StreamError | Disconnected, complain: Callable[[str], None]) -> int:
    """Tell why a stream cannot be loaded; returns the errno."""
    if isinstance(error, Disconnected):
        return errno.EIO
    if error.complaint is not None:
        complain(error.complaint)
    return error.code
