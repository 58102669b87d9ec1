"""A vhost-user back-end for one client: what each message does, and what a kick starts.

Answers, and the errors that end a connection, are those of QEMU's libvhost-user.  Where that would
crash on invalid input, the connection ends instead.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from qmpd.base import eventfd
from qmpd.export.vhost_user.guest_memory import DirtyLog, GuestMemory
from qmpd.export.vhost_user.protocol import (
    ADDRESSES,
    CONFIG,
    CONFIG_CHANGE,
    LOG,
    MAX_FDS,
    MAX_SLOTS,
    MEMORY,
    NEED_REPLY,
    NO_FD,
    OFFERED,
    QUEUE_MASK,
    REGION,
    STATE,
    U64,
    Feature,
    Message,
    Panic,
    Request,
)
from qmpd.export.vhost_user.virtio_blk import WCE_OFFSET, Malformed, VirtioBlk
from qmpd.export.vhost_user.virtqueue import Element, Virtqueue

if TYPE_CHECKING:
    from qmpd.export.vhost_user.link import Link


_logger = logging.getLogger("qmpd.vhost_user")


class VhostUserDevice:
    """The state of one connection.

    :param blk: the device
    :param report: takes complaints about the client
    """

    def __init__(self, blk: VirtioBlk, report: Callable[[str], None], link: Link) -> None:
        self._blk = blk
        self._report = report
        self._link = link
        self._memory = GuestMemory()
        self._queues: dict[int, Virtqueue] = {}
        self._features = 0
        self._request_fd: int | None = None
        self.broken = False
        """Whether the client has broken the protocol: nothing more is read from it."""

    def handle(self, message: Message) -> Message | None:
        """Handle a message; returns the reply if there is one (``vu_process_message``)."""
        reply = None
        handler = _HANDLERS.get(message.request)
        try:
            if handler is None:
                raise Panic(f"Unhandled request: {message.request}")
            reply = handler(self, message)
        except Panic as error:
            self._panic(error)
        except Exception:
            _logger.exception("a message of a vhost-user client failed in a way it must not")
            self._panic(Panic(f"qmpd internal error in request: {message.request}"))
        finally:
            message.close_fds()
        if reply is None and message.flags & NEED_REPLY:
            reply = message.reply_number(0)
        return reply

    def close(self) -> None:
        """Release memory and descriptors, when all requests have ended."""
        for queue in self._queues.values():
            queue.unbind()
            self._drop_kick(queue)
            _close(queue.call_fd, queue.error_fd)
            queue.call_fd = queue.error_fd = None
        self._memory.close()
        _close(self._request_fd)
        self._request_fd = None

    def stop(self) -> None:
        """Stop taking requests from the queues."""
        for queue in self._queues.values():
            self._drop_kick(queue)

    def config_changed(self) -> None:
        """Tell the client that the configuration has changed, if it wants such messages."""
        if self._request_fd is not None:
            try:
                eventfd.write_now(self._request_fd, Message(CONFIG_CHANGE).encode())
            except OSError as error:
                self._panic(Panic(f"Error while writing: {error.strerror}"))
                self._link.cut()

    def _panic(self, error: Panic) -> None:
        self.broken = True
        self._report(f"vu_panic: {error}")

    # Messages

    def _none(self, _: Message) -> None:
        self._report("vu_panic: disconnect")

    def _nothing(self, _: Message) -> None:
        """SET_OWNER, RESET_OWNER and the like need no action here."""

    def _get_features(self, message: Message) -> Message:
        return message.reply(U64.pack(self._blk.features))

    def _set_features(self, message: Message) -> None:
        (self._features,) = message.read(U64)
        if not self._features & Feature.VERSION_1:
            raise Panic("virtio legacy devices aren't supported by libvhost-user")
        self._apply_log()

    def _get_protocol_features(self, message: Message) -> Message:
        return message.reply_number(OFFERED)

    def _get_queue_num(self, message: Message) -> Message:
        return message.reply_number(self._blk.queues)

    def _get_max_mem_slots(self, message: Message) -> Message:
        return message.reply_number(MAX_SLOTS)

    def _get_config(self, message: Message) -> Message:
        _, size, _ = message.read(CONFIG)
        config = self._blk.config()
        if size > len(config):
            return message.reply(b"")
        whole = bytearray(message.payload.ljust(CONFIG.size + size, b"\0"))
        whole[CONFIG.size : CONFIG.size + size] = config[:size]
        return message.reply(bytes(whole[: len(message.payload)]))

    def _set_config(self, message: Message) -> None:
        if message.read(CONFIG) != (WCE_OFFSET, 1, 0):
            raise Panic("Set virtio configuration space failed")
        self._blk.set_wce(message.payload[CONFIG.size] if message.payload[CONFIG.size :] else 0)

    def _set_mem_table(self, message: Message) -> None:
        self._unbind()
        self._memory.clear()
        count, _ = message.read(MEMORY)
        if count > min(len(message.fds), MAX_FDS):
            raise Panic("region mmap error: Bad file descriptor")
        for number in range(count):
            region = message.read(REGION, MEMORY.size + number * REGION.size)
            self._memory.add(region, message.fds[number])

    def _add_mem_reg(self, message: Message) -> None:
        self._memory.add(self._region(message, (1,), "only 1"), message.fds[0])

    def _rem_mem_reg(self, message: Message) -> None:
        start, size, user, _ = self._region(message, (0, 1), "at most 1")
        self._unbind()
        self._memory.remove(start, size, user)

    def _region(
        self, message: Message, counts: tuple[int, ...], words: str
    ) -> tuple[int, int, int, int]:
        name = f"VHOST_USER_{Request(message.request).name}"
        if len(message.fds) not in counts:
            raise Panic(
                f"{name} received {len(message.fds)} fds - {words} fd should be sent for this"
                " message type"
            )
        if len(message.payload) < REGION.size:
            raise Panic(
                f"{name} requires a message size of at least {REGION.size} bytes and only"
                f" {len(message.payload)} bytes were received"
            )
        start, size, user, offset = message.read(REGION, 8)
        return start, size, user, offset

    def _unbind(self) -> None:
        for queue in self._queues.values():
            queue.unbind()

    def _set_log_base(self, message: Message) -> Message:
        if len(message.fds) != 1 or len(message.payload) != LOG.size:
            raise Panic("Invalid log_base message")
        size, offset = message.read(LOG)
        try:
            log = DirtyLog(message.fds[0], size, offset)
        except (OSError, ValueError, OverflowError) as error:
            raise Panic(f"log mmap error: {error}") from None
        before, self._memory.log = self._memory.log, log
        if before is not None:
            before.close()
        self._apply_log()
        return message.reply(message.payload[: U64.size])

    def _set_log_fd(self, message: Message) -> None:
        if len(message.fds) != 1:
            raise Panic("Invalid log_fd message")
        _close(self._memory.log_fd)
        self._memory.log_fd = None
        self._memory.log_fd = message.take_usable_fd()

    def _apply_log(self) -> None:
        if self._memory.log is not None:
            self._memory.log.enabled = bool(self._features & Feature.LOG_ALL)

    def _set_backend_req_fd(self, message: Message) -> None:
        if len(message.fds) != 1:
            raise Panic(f"Invalid backend_req_fd message ({len(message.fds)} fd's)")
        _close(self._request_fd)
        self._request_fd = None
        self._request_fd = message.take_usable_fd(socket=True)

    # Messages about a queue

    def _queue(self, index: int, what: str = "queue index") -> Virtqueue:
        if index >= self._blk.queues:
            raise Panic(f"Invalid {what}: {index}")
        if index not in self._queues:
            self._queues[index] = Virtqueue(self._memory)
        return self._queues[index]

    def _set_vring_num(self, message: Message) -> None:
        index, size = message.read(STATE)
        self._queue(index).set_size(size)

    def _set_vring_addr(self, message: Message) -> None:
        index, _, desc, used, available, log = message.read(ADDRESSES)
        self._queue(index).set_addresses(desc, used, available, log)

    def _set_vring_base(self, message: Message) -> None:
        index, base = message.read(STATE)
        self._queue(index).next_available = base & 0xFFFF

    def _get_vring_base(self, message: Message) -> Message:
        index, _ = message.read(STATE)
        queue = self._queue(index)
        self._drop_kick(queue)
        _close(queue.call_fd)
        queue.call_fd = None
        return message.reply(STATE.pack(index, queue.next_available))

    def _set_vring_enable(self, message: Message) -> None:
        self._queue(message.read(STATE)[0], "vring_enable index")

    def _queue_file(self, message: Message) -> tuple[Virtqueue, int | None]:
        (value,) = message.read(U64)
        queue = self._queue(value & QUEUE_MASK)
        if value & NO_FD:
            return queue, None
        if len(message.fds) != 1:
            raise Panic(f"Invalid fds in request: {int(message.request)}")
        return queue, message.take_usable_fd()

    def _set_vring_kick(self, message: Message) -> None:
        queue, fd = self._queue_file(message)
        self._drop_kick(queue)
        queue.kick_fd = fd
        if fd is not None:
            try:
                self._link.watch(fd, partial(self._kicked, queue))
            except OSError as error:
                os.close(fd)
                queue.kick_fd = None
                raise Panic(f"kick eventfd_read(): {error.strerror}") from None

    def _drop_kick(self, queue: Virtqueue) -> None:
        fd, queue.kick_fd = queue.kick_fd, None
        if fd is not None:
            self._link.unwatch(fd)
            os.close(fd)

    def _set_vring_call(self, message: Message) -> None:
        queue, fd = self._queue_file(message)
        _close(queue.call_fd)
        queue.call_fd = fd
        if fd is not None:
            # In case a call got lost when another back-end went away.
            try:
                eventfd.signal(fd)
            except OSError as error:
                self._report(f"vhost-user: a queue's call descriptor: {error.strerror}")

    def _set_vring_err(self, message: Message) -> None:
        queue, fd = self._queue_file(message)
        _close(queue.error_fd)
        queue.error_fd = fd

    # Requests

    def _kicked(self, queue: Virtqueue) -> None:
        assert queue.kick_fd is not None
        try:
            kicked = eventfd.take(queue.kick_fd)
        except OSError as error:
            self._panic(Panic(f"kick eventfd_read(): {error.strerror}"))
            self._link.cut()
        else:
            if kicked:
                self._process(queue)

    def _process(self, queue: Virtqueue) -> None:
        """Start the requests in a queue, at most as many at a time as it has entries."""
        try:
            self._memory.check()
            for _ in range(max(queue.size, 1)):
                if self.broken or queue.kick_fd is None:
                    return
                element = queue.pop(self._features)
                if element is None:
                    return
                self._link.start(self._serve(queue, element))
        except Panic as error:
            self._panic(error)
            self._link.cut()
        else:
            self._link.later(partial(self._process, queue))

    async def _serve(self, queue: Virtqueue, element: Element) -> None:
        try:
            length = await self._blk.process(self._memory, element)
            if self.broken:
                return
            queue.push(element, length)
            if queue.call_fd is not None and queue.wants_call(self._features):
                self._call(queue.call_fd)
        except Malformed as error:
            self._report(str(error))
        except Panic as error:
            self._panic(error)
            self._link.cut()

    def _call(self, fd: int) -> None:
        try:
            eventfd.signal(fd)
        except OSError as error:
            raise Panic(f"Error writing eventfd: {error.strerror}") from None


def _close(*fds: int | None) -> None:
    for fd in fds:
        if fd is not None:
            os.close(fd)


_Handler = Callable[[VhostUserDevice, Message], Message | None]

_HANDLERS: Final = MappingProxyType[int, _Handler](
    {
        Request.NONE: VhostUserDevice._none,
        Request.GET_FEATURES: VhostUserDevice._get_features,
        Request.SET_FEATURES: VhostUserDevice._set_features,
        Request.SET_OWNER: VhostUserDevice._nothing,
        Request.RESET_OWNER: VhostUserDevice._nothing,
        Request.SET_MEM_TABLE: VhostUserDevice._set_mem_table,
        Request.SET_LOG_BASE: VhostUserDevice._set_log_base,
        Request.SET_LOG_FD: VhostUserDevice._set_log_fd,
        Request.SET_VRING_NUM: VhostUserDevice._set_vring_num,
        Request.SET_VRING_ADDR: VhostUserDevice._set_vring_addr,
        Request.SET_VRING_BASE: VhostUserDevice._set_vring_base,
        Request.GET_VRING_BASE: VhostUserDevice._get_vring_base,
        Request.SET_VRING_KICK: VhostUserDevice._set_vring_kick,
        Request.SET_VRING_CALL: VhostUserDevice._set_vring_call,
        Request.SET_VRING_ERR: VhostUserDevice._set_vring_err,
        Request.GET_PROTOCOL_FEATURES: VhostUserDevice._get_protocol_features,
        Request.SET_PROTOCOL_FEATURES: VhostUserDevice._nothing,
        Request.GET_QUEUE_NUM: VhostUserDevice._get_queue_num,
        Request.SET_VRING_ENABLE: VhostUserDevice._set_vring_enable,
        Request.SET_BACKEND_REQ_FD: VhostUserDevice._set_backend_req_fd,
        Request.GET_CONFIG: VhostUserDevice._get_config,
        Request.SET_CONFIG: VhostUserDevice._set_config,
        Request.GET_MAX_MEM_SLOTS: VhostUserDevice._get_max_mem_slots,
        Request.ADD_MEM_REG: VhostUserDevice._add_mem_reg,
        Request.REM_MEM_REG: VhostUserDevice._rem_mem_reg,
    }
)
"""The handlers of messages; those of features that are not offered are unknown."""


MakeDevice = Callable[["Link"], VhostUserDevice]
"""Makes the device that serves the client behind a link."""
