"""Where things stand in schema files, and the error that says so."""

from __future__ import annotations

from dataclasses import dataclass

from qmpd.qapi.compiler.entities import SourceLocation


class QapiError(Exception):
    """A schema breaks a rule of the QAPI language.

    ``str()`` is ``FILE:LINE: In command 'x': message``, without the ``In`` part outside a
    definition.  A message may have further lines, as QEMU's compiler prints them.

    :param location: file name as given or joined from includes, and line from 1
    :param message: what is wrong, in the words of QEMU's compiler where it has the rule
    :param context: the definition concerned, e.g. ``command 'x'``; empty outside of one
    """

    def __init__(self, location: SourceLocation, message: str, context: str = "") -> None:
        super().__init__(message)
        self.location = location
        self.message = message
        self.context = context

    @property
    def file(self) -> str:
        """The file, named as the compiler came to it."""
        return self.location.file

    @property
    def line(self) -> int:
        """The line, counted from 1."""
        return self.location.line

    def __str__(self) -> str:
        inside = f"In {self.context}: " if self.context else ""
        return f"{self.location}: {inside}{self.message}"


@dataclass(frozen=True, slots=True)
class Site:
    """A definition as a place for errors: QEMU reports all of them at its opening brace.

    :param location: the line of the definition's ``{``
    :param meta: what it defines: command, event, struct, enum, union or alternate
    :param name: the name it defines
    """

    location: SourceLocation
    meta: str = ""
    name: str = ""

    def error(self, message: str) -> QapiError:
        """The error `message` about this definition."""
        context = f"{self.meta} '{self.name}'" if self.meta else ""
        return QapiError(self.location, message, context)
