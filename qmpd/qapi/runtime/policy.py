"""Policies for deprecated and unstable interfaces (``-compat``).

Each special feature of a command, argument, enum value, event or member of a reply
is subject to a policy.  The defaults accept and show everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self

from qmpd.errors import CommandNotFound, GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.qapi.runtime.entry_points import CommandInfo, EventInfo

InputPolicy = Literal["accept", "reject", "crash"]
OutputPolicy = Literal["accept", "hide"]

INPUT_POLICIES: Final[Mapping[str, InputPolicy]] = MappingProxyType(
    {"accept": "accept", "reject": "reject", "crash": "crash"}
)
OUTPUT_POLICIES: Final[Mapping[str, OutputPolicy]] = MappingProxyType(
    {"accept": "accept", "hide": "hide"}
)
"""The policies by their names in ``-compat``."""


class Crash(Exception):
    """A client used what the policy ``crash`` forbids: QEMU calls abort(3) there."""


class CompatPolicy(NamedTuple):
    """What to do about interfaces that are deprecated, and about those that are unstable.

    The input policies say what happens when a client uses one: ``reject`` fails the
    request, ``crash`` raises `Crash` and the host of the machine ends the process.
    The output policies say whether clients are shown any.
    """

    deprecated_input: InputPolicy = "accept"
    deprecated_output: OutputPolicy = "accept"
    unstable_input: InputPolicy = "accept"
    unstable_output: OutputPolicy = "accept"

    @classmethod
    def of_options(cls, options: Mapping[str, str]) -> Self:
        """The policy that the values of ``-compat`` ask for.

        :param options: ``deprecated-input`` and so on; what is absent accepts
        :raises KeyError: there is no such policy
        """
        return cls(
            INPUT_POLICIES[options.get("deprecated-input", "accept")],
            OUTPUT_POLICIES[options.get("deprecated-output", "accept")],
            INPUT_POLICIES[options.get("unstable-input", "accept")],
            OUTPUT_POLICIES[options.get("unstable-output", "accept")],
        )

    @property
    def restricts_input(self) -> bool:
        """Whether anything that a client sends might be refused."""
        return (self.deprecated_input, self.unstable_input) != ("accept", "accept")

    @property
    def restricts_output(self) -> bool:
        """Whether anything is hidden from clients."""
        return (self.deprecated_output, self.unstable_output) != ("accept", "accept")

    def check_command(self, info: CommandInfo) -> None:
        """Refuse a command that the policy does not allow.

        :raises CommandNotFound: ``Deprecated command drive-backup disabled by policy``
        :raises Crash: the policy is to crash
        """
        self.check_input("command", info.name, info.features, CommandNotFound)

    def check_input(
        self,
        kind: Literal["command", "parameter", "value"],
        name: str,
        features: Sequence[str],
        error: type[QmpError] = GenericError,
    ) -> None:
        """Refuse a thing called `name` with `features` where the policy does.

        :raises QmpError: of class `error`, with QEMU's text
        :raises Crash: the policy is to crash
        """
        if not features:
            return
        for feature, policy in self._input_policies():
            if feature not in features or policy == "accept":
                continue
            if policy == "crash":
                raise Crash
            raise error(f"{feature.capitalize()} {kind} {name} disabled by policy")

    def _input_policies(self) -> Iterator[tuple[str, InputPolicy]]:
        yield "deprecated", self.deprecated_input
        yield "unstable", self.unstable_input

    def hides(self, features: Sequence[str]) -> bool:
        """Whether a member or event with `features` is kept from clients."""
        return (self.deprecated_output == "hide" and "deprecated" in features) or (
            self.unstable_output == "hide" and "unstable" in features
        )

    def hides_event(self, info: EventInfo) -> bool:
        """Whether the event is not sent at all."""
        return self.restricts_output and self.hides(info.features)
