"""`Machine.faults`: what fails on demand; see `qmpd.sim.faults`, which does it.

The actions of `Faults.connection`:

============== =============================================================== ==========
action         what happens                                                    takes
============== =============================================================== ==========
``cut-before`` the connection is cut before a message or byte                  place
``cut-within`` half of a message passes, then it is cut                        `message`
``cut-after``  it is cut after a message or byte                               place
``insert``     something else comes before a message or byte; unless it is     place,
               said which one, before message 2: inside the greeting's         `data`
               exchange
``slice``      messages pass in pieces, the others `seconds` after the first   `size`,
                                                                               `seconds`
``delay``      every message, or one, is `seconds` late, and those behind it   `seconds`,
                                                                               `message`
``duplicate``  events, or one message, come twice                              `event`,
                                                                               `message`
``late``       events come after so many other messages, or seconds            `event`,
                                                                               `after`,
                                                                               `seconds`
``deaf``       after a message or byte of the client's nothing more is read    place
============== =============================================================== ==========
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from qmpd.sim.bench import Bench
    from qmpd.sim.faults.fault import Fault as SimFault
    from qmpd.sim.faults.faults import Faults as SimFaults

T = TypeVar("T")

Call = Callable[[Callable[[], Any]], Any]
"""Calls a function while the machine does nothing else, and returns its result."""


class Fault:
    """A fault that has been installed; as a context manager it is removed at the block's end."""

    def __init__(self, call: Call, fault: SimFault) -> None:
        self._call = call
        self._fault = fault

    def __repr__(self) -> str:
        return repr(self._fault)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fault) and other._fault is self._fault

    def __hash__(self) -> int:
        return hash(self._fault)

    @property
    def hits(self) -> int:
        """How many times it has acted."""
        return self._fault.hits

    def describe(self) -> dict[str, Any]:
        """What it was asked to be, and its ``hits``, as plain values."""
        described: dict[str, Any] = self._call(self._fault.describe)
        return described

    def remove(self) -> None:
        """Take it out; its hits can still be asked for.  Doing so again does nothing."""
        self._call(self._fault.remove)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()


class Faults:
    """The faults of a machine that are installed now, the oldest first; iterate to see them.

    >>> import qmpd
    >>> with qmpd.Machine(disks={"disk0": "1M"}) as vm:
    ...     with vm.faults.fail("pwrite", node="disk0", errno="ENOSPC", skip=1) as fault:
    ...         vm.disk("disk0").write(0, b"one")
    ...         try:
    ...             vm.disk("disk0").write(0, b"two")
    ...         except qmpd.errors.BlockIOError as error:
    ...             print(error, fault.hits)
    No space left on device 1
    """

    def __init__(self, call: Call, bench: Bench) -> None:
        self._call = call
        self._bench = bench

    @property
    def _faults(self) -> SimFaults:
        return self._bench.faults

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._call(lambda: [Fault(self._call, each) for each in self._faults]))

    def __len__(self) -> int:
        return len(self._faults)

    def unused(self) -> list[Fault]:
        """Those that have not acted yet."""
        return [fault for fault in self if not fault.hits]

    def clear(self) -> None:
        """Remove all of them."""
        self._call(lambda: self._faults.clear())

    def _install(self, make: Callable[[], SimFault]) -> Fault:
        fault: Fault = self._call(lambda: Fault(self._call, make()))
        return fault

    def fail(
        self,
        operation: str,
        *,
        node: str | None = None,
        file: str | None = None,
        offset: int | None = None,
        length: int | None = None,
        skip: int = 0,
        count: int | None = None,
        errno: str | int | None = None,
        delay: float | None = None,
        short: int | None = None,
        corrupt: bool | int | bytes | None = None,
        later: bool = False,
    ) -> Fault:
        """Have requests to nodes or files fail, wait, end early or be changed.

        Requests are met between a node and its driver, so that whoever uses the node sees what it
        would see of a bad disk, or of a full one.  The fault is about all nodes and files of the
        name, also those that come as long as it is installed.

        :param operation: ``pread``; ``pwrite``, which is all that changes data: plain writes,
            zeroes and compressed clusters, or ``pwrite_zeroes`` and ``pwrite_compressed``, which
            are but those; ``pdiscard``, ``flush``, ``truncate``, ``block_status``; or, of files,
            ``open``, ``create`` and ``lock``
        :param node: name of a node, or a pattern with ``*``, ``?``, ``[...]``; the name of a
            backend or a device stands for the node that it is on now
        :param file: name of a file as QMP tells it, or a pattern
        :param offset: first byte of the area that a request must touch
        :param length: of that area, bytes
        :param skip: how many requests pass before it acts
        :param count: how many times it acts then, None for always
        :param errno: what requests fail with: a name (``"ENOSPC"``) or a number; EIO where
            nothing else is asked for, EAGAIN of locks, which another program has then
        :param delay: seconds of the machine's clock that requests wait before they go on, or fail
        :param short: bytes after which a request ends.  The rest of what is read is zeroes, as
            behind the end of a file; the rest of what is written is lost, and the write fails
        :param corrupt: is xor-ed with the bytes of the area that are read or written: a number
            for all of them, or several bytes, repeatedly; True for all bits
        :param later: the node or file need not be there yet
        :raises LookupError: there is no such node or file; the text says which there are
        :raises ValueError: an operation or an errno that there is not (the text says which there
            are), or something that does not go together
        """

        return self._install(
            lambda: self._faults.fail(
                operation,
                node=node,
                file=file,
                offset=offset,
                length=length,
                skip=skip,
                count=count,
                error=errno,
                delay=delay,
                short=short,
                corrupt=corrupt,
                later=later,
            )
        )

    def command(
        self,
        name: str,
        *,
        nth: int | None = None,
        error: tuple[str, str] | str | None = None,
        delay: float | None = None,
        lose_answer: bool = False,
    ) -> Fault:
        """Have calls of a QMP command fail, wait, or get no answer, on every monitor.

        The program's own calls are among them: `Machine.cmd`, and those by which a job or the
        nodes are asked for.

        >>> import qmpd
        >>> with qmpd.Machine() as vm:
        ...     error = ("GenericError", "no luck today")
        ...     with vm.faults.command("query-status", nth=2, error=error):
        ...         [list(vm.qmp("query-status")) for _ in range(3)]
        [['return'], ['error'], ['return']]

        :param name: of the command, or a pattern
        :param nth: the only call that is meant, counted from 1 since the fault is there; None for
            all
        :param error: class and text that the call fails with, without being run; a text alone is
            a GenericError
        :param delay: seconds of the machine's clock before the call is run, or fails; meanwhile
            no other command is, as in QEMU.  Out-of-band calls do not wait
        :param lose_answer: run the call and never answer it
        :raises LookupError: there is no such command; the text says which there are
        :raises ValueError: an error class that there is not; the text says which there are.  Or
            nothing is to happen
        """

        return self._install(
            lambda: self._faults.command(
                name, nth=nth, error=error, delay=delay, lose_answer=lose_answer
            )
        )

    def connection(
        self,
        action: str,
        *,
        monitor: str | None = None,
        nbd: bool = False,
        direction: str | None = None,
        nth: int | None = None,
        count: int | None = None,
        message: int | None = None,
        byte: int | None = None,
        data: bytes | str | Mapping[str, Any] | None = None,
        size: int | None = None,
        seconds: float | None = None,
        event: str | None = None,
        after: int | None = None,
    ) -> Fault:
        """Have something happen to the connections of clients at sockets: QMP's, or NBD's.

        The actions, and what each takes, are in the table at the head of this module.

        A place is `message` or `byte`, counted from 1 since the connection began or, if that was
        before, since the fault is there.  The greeting is a message.

        :param monitor: label, or pattern, of the monitors whose clients are meant (``"served"`` is
            that of `Machine.serve`); None for all, but never the program's own
        :param nbd: the clients of the NBD server are meant instead, those that come; they have
            bytes, no messages
        :param direction: ``out``, what the client gets, or ``in``, what it sends (``deaf``)
        :param nth: the only connection that is meant, counted from 1 since the fault is there
        :param count: how many times it acts, None for always
        :param data: bytes, a text, or a message as a dictionary
        :param size: bytes of a piece
        :param seconds: of the machine's clock
        :param event: name or pattern of events
        :raises ValueError: an action that there is not, or arguments that it does not take; the
            text says which there are
        """

        return self._install(
            lambda: self._faults.connection(
                action,
                monitor=monitor,
                nbd=nbd,
                direction=direction,
                nth=nth,
                count=count,
                message=message,
                byte=byte,
                data=data,
                size=size,
                seconds=seconds,
                event=event,
                after=after,
            )
        )
