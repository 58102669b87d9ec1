"""From JSON values to models, and QEMU's words for what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.ghash import first_unexpected
from qmpd.errors import GenericError
from qmpd.qapi.runtime.entry_points import CommandInfo
from qmpd.qapi.runtime.plain_values import PlainValues
from qmpd.qapi.runtime.policy import CompatPolicy
from qmpd.qapi.runtime.type_table import TypeTable
from qmpd.qapi.runtime.visitor import InputVisitor

if TYPE_CHECKING:
    from qmpd.qapi.runtime.types import ModelBuilder, Validate


READ_PLAINLY: Final = 1000
"""Arguments that are read without pydantic: to import it costs as much as some thousands."""

TOO_DEEP: Final = "The arguments are nested too deeply"


class Reader:
    """Reads values of the types of one table, as instances of pydantic models.

    A program that runs but a few commands never has to wait for pydantic: the visitor reads their
    arguments until models have been made ready, or there have been many of them.

    :param table: the types
    :param package: name of the package whose stub files declare their models
    :param parse_json: reads texts of JSON on command lines; None: as the default version does
    """

    def __init__(
        self,
        table: TypeTable,
        package: str,
        parse_json: Callable[[str], object] | None = None,
    ) -> None:
        self.parse_json = parse_json
        self._table = table
        self._package = package
        self._validators: dict[str, Validate] = {}
        self._plain_values = PlainValues(table)
        self._read_plainly = 0

    @cached_property
    def _models(self) -> ModelBuilder:
        """Made late: pydantic is not needed before the first value."""
        from qmpd.qapi.runtime.types import ModelBuilder

        return ModelBuilder(self._table, self._package)

    def model(self, name: str) -> Any:
        """The model of the type called `name`: a class or an annotation.

        :raises KeyError: there is no such type
        """
        return self._models.model(name)

    def read(
        self,
        name: str,
        value: object,
        *,
        keyval: bool = False,
        policy: CompatPolicy | None = None,
    ) -> Any:
        """`value` as an instance of the model of type `name`.

        :param name: QAPI name of the type, e.g. ``BlockdevOptions``
        :param value: JSON data; with `keyval` all scalars are strings
        :raises GenericError: the value is not of the type, or `policy` refuses a part;
            the text is QEMU's
        """
        validate = self._validators.get(name) or self.prepare(name)
        try:
            if keyval or (policy is not None and policy.restricts_input):
                value = self._visited(name, value, keyval, policy)
                keyval, policy = False, None
            try:
                return validate(value)
            except ValueError:
                return validate(self._visited(name, value, False, None))
        except RecursionError:
            raise self._deep_error(name, value, keyval, policy) from None

    def read_plain(self, name: str, value: object, *, keyval: bool) -> Any:
        """`value` as plain data of type `name`.

        :param name: QAPI name of the type
        :param value: JSON data; with `keyval` all scalars are strings
        :raises GenericError: the value is not of the type; the text is QEMU's
        """
        return self._visited(name, value, keyval, None)

    def read_flat(self, name: str, options: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """Flat options as plain data of object type `name`.

        :param options: names and values in the order given
        :raises GenericError: they are not of the type; the text is QEMU's
        """
        from qmpd.qapi.runtime.flat_values import FlatVisitor

        return FlatVisitor(self._table, options).read(name)

    def _visited(
        self, name: str, value: object, keyval: bool, policy: CompatPolicy | None
    ) -> object:
        visitor = InputVisitor(self._table, keyval=keyval, policy=policy)
        return visitor.read(name, value)

    def _deep_error(
        self, name: str, value: object, keyval: bool, policy: CompatPolicy | None
    ) -> GenericError:
        """What is wrong with a value that is nested deeper than pydantic validates."""
        try:
            self._visited(name, value, keyval, policy)
        except GenericError as error:
            return error
        return GenericError(TOO_DEEP)

    def prepare(self, name: str) -> Validate:
        """Make the model of type `name` ready, before a value has to wait for it."""
        validate = self._validators[name] = self._models.validator(name)
        return validate

    def arguments(
        self,
        info: CommandInfo,
        arguments: dict[str, object] | None,
        *,
        policy: CompatPolicy | None = None,
    ) -> Any:
        """The arguments of a command as an instance of its model.

        :param arguments: the request's ``arguments`` object; None when it has none
        :param policy: what to do about deprecated and unstable members
        :return: the model instance, or an object with its attributes; None for a command that takes
            no arguments; the object itself for one with free-form arguments (``'gen': false``)
        :raises GenericError: QEMU's text for the first problem, in the order in which QEMU
            looks: members in schema order, unexpected ones last
        """
        if arguments is None:
            arguments = {}
        if not info.gen:
            return arguments
        if info.arguments is None:
            if arguments:
                raise GenericError(f"Parameter '{first_unexpected(arguments, ())}' is unexpected")
            return None
        if self._read_plainly < READ_PLAINLY and info.arguments not in self._validators:
            self._read_plainly += 1
            return self._plain(info.arguments, arguments, policy)
        return self.read(info.arguments, arguments, policy=policy)

    def _plain(self, name: str, value: object, policy: CompatPolicy | None) -> Any:
        """What `read` returns, as an object with the same attributes."""
        restricts = policy is not None and policy.restricts_input
        value = self._visited(name, value, False, policy if restricts else None)
        try:
            return self._plain_values.make(name, value)
        except RecursionError:
            raise GenericError(TOO_DEEP) from None

    def read_property(self, type_name: str, name: str, value: object) -> Any:
        """The value of an object's property called `name`, as plain data of QAPI type `type_name`.

        :raises GenericError: with QEMU's text
        """
        return InputVisitor(self._table).read(self._table.reference(type_name), value, name)
