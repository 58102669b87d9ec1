"""The errors that a QMP client can see.

Every failure of a command is a `QmpError`: an error class (QAPI enum
``QapiErrorClass``, and three of 2012) and a description for people, QEMU's text exactly.
Anything else that escapes from a handler is a defect of qmpd.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from errno import ENOTSUP
from types import MappingProxyType
from typing import ClassVar, Final, Self


class QmpError(Exception):
    """A command failed; `error_class` and `desc` are what the client is told.

    Class, text and hint are one value that does not change: whoever has more to say raises the
    error that `prefixed` or `hinted` returns.

    :param desc: the description, without a newline
    :param hint: further lines for people, without the last newline: QMP does not show them, the
        human monitor and the command line do (QEMU's ``error_append_hint``)
    """

    error_class: ClassVar[str] = "GenericError"

    def __init__(self, desc: str, hint: str | None = None) -> None:
        super().__init__(desc)
        self.desc = desc
        self.hint = hint

    def prefixed(self, prefix: str) -> Self:
        """The same error with `prefix` before its text (``error_prepend``)."""
        return self._with(prefix + self.desc, self.hint)

    def hinted(self, hint: str) -> Self:
        """The same error with another line for people behind those it has."""
        return self._with(self.desc, hint if self.hint is None else f"{self.hint}\n{hint}")

    def _with(self, desc: str, hint: str | None) -> Self:
        """The same error, its errno and whatever else it knows included, in other words."""
        error = type(self).__new__(type(self), desc)
        error.__dict__.update(self.__dict__)
        error.args = (desc,)
        error.desc, error.hint = desc, hint
        return error

    @property
    def report(self) -> str:
        """What people are shown (``error_report_err``): text and hint, every line ended."""
        return f"{self.desc}\n" if self.hint is None else f"{self.desc}\n{self.hint}\n"


class GenericError(QmpError):
    """Class GenericError: every failure that has no class of its own."""


class CommandNotFound(QmpError):
    """Class CommandNotFound: the command is not known, disabled, or not allowed now."""

    error_class = "CommandNotFound"


class DeviceNotActive(QmpError):
    """Class DeviceNotActive: the device has no active job, medium, ..."""

    error_class = "DeviceNotActive"


class DeviceNotFound(QmpError):
    """Class DeviceNotFound: the device named is not known."""

    error_class = "DeviceNotFound"


class DeviceInUse(QmpError):
    """Class DeviceInUse, of blockdev-group-snapshot-sync only: the device is busy."""

    error_class = "DeviceInUse"


class OpenFileFailed(QmpError):
    """Class OpenFileFailed, of blockdev-group-snapshot-sync only: no such file can be had."""

    error_class = "OpenFileFailed"


class InvalidBlockFormat(QmpError):
    """Class InvalidBlockFormat, of blockdev-group-snapshot-sync only: no such format."""

    error_class = "InvalidBlockFormat"


class KVMMissingCap(QmpError):
    """Class KVMMissingCap: KVM lacks a capability the command needs."""

    error_class = "KVMMissingCap"


ERROR_CLASSES: Final[Mapping[str, type[QmpError]]] = MappingProxyType(
    {
        error.error_class: error
        for error in (
            GenericError,
            CommandNotFound,
            DeviceNotActive,
            DeviceNotFound,
            DeviceInUse,
            OpenFileFailed,
            InvalidBlockFormat,
            KVMMissingCap,
        )
    }
)
"""The exception for each error class that an answer may have."""


def from_answer(error: Mapping[str, str]) -> QmpError:
    """The exception for the ``error`` member of an answer: its ``class`` and its ``desc``."""
    return ERROR_CLASSES.get(error["class"], GenericError)(error["desc"])


class WaitsForever(TimeoutError):
    """A wait in the same process as the machine that nothing will end.

    Raised in the place of hanging: the machine has nothing left to do, or its clock is held and
    only `clock.advance` can bring what is waited for.  The text says what was waited for, and
    when the next timer is due.
    """


class MachineClosed(RuntimeError):
    """The machine was asked for something after `close`, or after a ``quit``."""


class NotServed(GenericError):
    """The schema knows this, qmpd does not do it (yet), and says so."""


class BlockIOError(QmpError):
    """A block operation failed with an errno, as guest I/O and drivers report it.

    :param errno: positive errno value (``errno.EIO``, ...)
    :param desc: text; the errno's own where absent
    :param hint: see `QmpError`
    """

    def __init__(self, errno: int, desc: str | None = None, hint: str | None = None) -> None:
        super().__init__(os.strerror(errno) if desc is None else desc, hint)
        self.errno = errno

    @property
    def is_unsupported(self) -> bool:
        """Whether the driver cannot do such a thing."""
        return self.errno == ENOTSUP
