"""Faults of commands: a call fails, waits, or its answer is lost."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import ERROR_CLASSES, QmpError
from qmpd.loop.clock import NANOSECONDS
from qmpd.monitor.dispatcher import Unanswered
from qmpd.sim.faults.fault import Fault, Keeper
from qmpd.sim.faults.words import listed, not_below, one_of

if TYPE_CHECKING:
    from qmpd.monitor.qmp_monitor import Dispatch
    from qmpd.wire.session import Request, Session

_CLOSEST: Final = 3


class CommandFault(Fault):
    """A fault of calls of a command, on every QMP monitor but a control monitor.

    What QEMU refuses before it looks at the command (before negotiation is over) is no call.

    :param name: of the command, or a pattern
    :param nth: the only call that is meant, counted from 1 since the fault is there; None for all
    :param error: class and text that the call fails with; it is not run then.  A text alone is a
        GenericError
    :param delay: seconds of the machine's clock before the call is run, or fails; meanwhile no
        other command is.  Out-of-band calls do not wait
    :param lose_answer: whether the call is run, whatever comes of it, and never answered
    :raises ValueError: an error class that there is not, or nothing is to happen
    """

    def __init__(
        self,
        keeper: Keeper,
        name: str,
        *,
        nth: int | None = None,
        error: tuple[str, str] | str | None = None,
        delay: float | None = None,
        lose_answer: bool = False,
    ) -> None:
        if nth is not None:
            not_below("nth", nth, 1)
        if error is None and delay is None and not lose_answer:
            raise ValueError("say what is to happen: 'error', 'delay' or 'lose_answer'")
        if error is not None and lose_answer:
            raise ValueError("a call with an 'error' is not run: it cannot 'lose_answer'")
        not_below("delay", delay or 0, 0)
        what: dict[str, Any] = {"command": name, "nth": nth, "error": error, "delay": delay}
        if lose_answer:
            what["lose-answer"] = True
        super().__init__(keeper, what, skip=(nth or 1) - 1, count=None if nth is None else 1)
        self.name = name
        self.error = _error(error)
        self.delay = round((delay or 0) * NANOSECONDS)
        self.lose_answer = lose_answer

    def is_about(self, command: str) -> bool:
        """Whether it is about calls of `command`."""
        return command == self.name or fnmatchcase(command, self.name)


def _error(given: tuple[str, str] | str | None) -> QmpError | None:
    if given is None:
        return None
    name, text = ("GenericError", given) if isinstance(given, str) else given
    return ERROR_CLASSES[one_of("error class", name, ERROR_CLASSES)](text)


def check_command(name: str, known: Iterable[str]) -> None:
    """Check that a name, or a pattern, stands for a command that there is.

    :raises LookupError: it does not; the text says which there are
    """
    names = sorted(known)
    if any(name == command or fnmatchcase(command, name) for command in names):
        return
    close = get_close_matches(name, names, _CLOSEST) or names[:_CLOSEST]
    raise LookupError(f"there is no command {name!r}; there are {listed(close)}, ...")


def faulty(
    dispatch: Dispatch,
    faults: Callable[[], list[CommandFault]],
    sleep: Callable[[int], Coroutine[Any, Any, None]],
) -> Dispatch:
    """The way that requests are run where some fail.

    :param dispatch: the usual way
    :param sleep: lets nanoseconds of the machine's clock pass
    """

    async def run(session: Session, request: Request) -> Any:
        met = [fault for fault in faults() if fault.is_about(request.command)]
        if met:
            session.check_command(request.command)
        lost = False
        for fault in met:
            if not fault.meets(request=request.command):
                continue
            if fault.delay and not request.oob:
                await sleep(fault.delay)
            if fault.error is not None:
                raise fault.error
            lost = lost or fault.lose_answer
        if not lost:
            return await dispatch(session, request)
        with suppress(QmpError):
            await dispatch(session, request)
        raise Unanswered

    return run
