"""Commands on the character devices of a process (chardev/char.c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qmpd.base.descriptor import Descriptor
from qmpd.errors import GenericError, NotServed
from qmpd.machine.chardevs import TakeDescriptor
from qmpd.server.chardev.chardev import Chardev, ChardevTable, RingbufChardev
from qmpd.server.chardev.maker import ChardevMaker, Surroundings


class CharDevices(ChardevTable):
    """The character devices of one process, and what commands do with them.

    It is what a machine knows as `qmpd.machine.chardevs.CharDevices`.

    :param surroundings: what they are made in
    """

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__()
        self.maker = ChardevMaker(surroundings, self)
        self._made_here: list[Chardev] = []
        self.serving = False
        """Whether new ones begin at once."""

    def sockets(self) -> list[str]:
        """Ids of the sockets."""
        from qmpd.server.chardev.socket import SocketChardev

        oldest_first = self.oldest_first()
        return [each.label for each in oldest_first if isinstance(each, SocketChardev)]

    def yank(self, label: str) -> None:
        """Cut the connection of a socket, as if its peer had gone."""
        from qmpd.server.chardev.socket import SocketChardev

        chardev = self.find(label)
        if isinstance(chardev, SocketChardev):
            chardev.cut()

    def make(
        self, label: str, kind: str, data: Mapping[str, Any], take: TakeDescriptor
    ) -> dict[str, Any]:
        """Make one.

        :raises GenericError: QEMU's text
        """
        if self.find(label) is not None:
            raise GenericError(f"Chardev with id '{label}' already exists")
        try:
            return self._returned(self._enter(self.maker.make(label, kind, data, take)))
        except NotServed:
            raise
        except GenericError as error:
            raise GenericError(f"Failed to add chardev '{label}': {error.desc}") from None

    def make_by_options(
        self, label: str, kind: str, data: Mapping[str, Any], *, mux: bool, take: TakeDescriptor
    ) -> str:
        """Make one as the human monitor does (``qemu_chr_new_from_opts``).

        :raises GenericError: QEMU's text
        """
        chardev = self._enter(self.maker.make(f"{label}-base" if mux else label, kind, data, take))
        if mux:
            self._enter(self.maker.make(label, "mux", {"chardev": chardev.label}, take))
        return redirected(chardev)

    def _enter(self, chardev: Chardev) -> Chardev:
        try:
            self.add(chardev)
        except GenericError:
            chardev.close()
            raise
        self._made_here.append(chardev)
        if self.serving:
            chardev.start()
        return chardev

    def _returned(self, chardev: Chardev) -> dict[str, Any]:
        from qmpd.server.chardev.pty import PtyChardev

        return {"pty": chardev.terminal} if isinstance(chardev, PtyChardev) else {}

    def change(
        self, label: str, kind: str, data: Mapping[str, Any], take: TakeDescriptor
    ) -> dict[str, Any]:
        """Put another one in its place.

        :raises GenericError: QEMU's text
        """
        from qmpd.server.chardev.mux import HubChardev, MuxChardev, SilentConsole

        old = self.find(label)
        if old is None:
            raise GenericError(f"Chardev '{label}' does not exist")
        if isinstance(old, HubChardev | MuxChardev):
            raise GenericError("For mux or hub device hotswap is not supported yet")
        frontend = old.frontend
        if frontend is None:
            self._drop(old)
            return self.make(label, kind, data, take)
        if not isinstance(frontend, SilentConsole):
            raise GenericError("Chardev user does not support chardev hotswap")
        new = self.maker.make(label, kind, data, take)
        self._drop(old)
        self._enter(new)
        new.attach(frontend)
        return self._returned(new)

    def remove(self, label: str) -> None:
        """Close one.

        :raises GenericError: there is none, or something uses it
        """
        chardev = self._need(label)
        if chardev.busy:
            raise GenericError(f"Chardev '{label}' is busy")
        self._drop(chardev)

    def add_client(self, label: str, descriptor: Descriptor) -> None:
        """Give a socket without a peer the connection of one (``qmp_add_client_char``).

        :raises GenericError: there is no such character device, or it takes nobody
        """
        from qmpd.server.chardev.socket import SocketChardev

        chardev = self.find(label)
        if chardev is None:
            raise GenericError(f"protocol '{label}' is invalid")
        if not isinstance(chardev, SocketChardev) or not chardev.take_client(descriptor):
            raise GenericError("failed to add client")

    def send_break(self, label: str) -> None:
        """Do nothing: monitors take no notice of a break.

        :raises GenericError: there is none
        """
        self._need(label)

    def _need(self, label: str) -> Chardev:
        chardev = self.find(label)
        if chardev is None:
            raise GenericError(f"Chardev '{label}' not found")
        return chardev

    def _drop(self, chardev: Chardev) -> None:
        self.drop(chardev)
        if chardev in self._made_here:
            self._made_here.remove(chardev)

    def _ringbuf(self, label: str) -> RingbufChardev:
        chardev = self.find(label)
        if chardev is None:
            raise GenericError(f"Device '{label}' not found")
        if not isinstance(chardev, RingbufChardev):
            raise GenericError(f"{label} is not a ringbuf device")
        return chardev

    def ringbuf_write(self, label: str, data: bytes) -> None:
        """Write to a ring buffer.

        :raises GenericError: there is none
        """
        self._ringbuf(label).send(data)

    def ringbuf_read(self, label: str, size: int) -> bytes:
        """Take up to `size` of the oldest bytes out of a ring buffer.

        :raises GenericError: there is none, or `size` is not positive
        """
        ring = self._ringbuf(label)
        if size <= 0:
            raise GenericError("size must be greater than zero")
        return ring.read(size)

    def drop_added(self) -> None:
        """Close all that commands have made: the machine ends, the process does not."""
        for chardev in reversed(self._made_here):
            if self.find(chardev.label) is chardev:
                self.drop(chardev)
        self._made_here.clear()


def redirected(chardev: Chardev) -> str:
    """What is said on the terminal of a new character device."""
    from qmpd.server.chardev.pty import PtyChardev

    if not isinstance(chardev, PtyChardev):
        return ""
    return f"char device redirected to {chardev.terminal} (label {chardev.label})\n"
