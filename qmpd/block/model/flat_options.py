"""Options of nodes as ``-drive`` and file names have them: one flat table.

Children are below dotted prefixes (``file.filename``), and most values are strings.  What they
mean is for each driver to say when it is opened: until then nobody knows which driver that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from qmpd.base.qdict import member_order
from qmpd.base.scalars import decimal_number
from qmpd.errors import GenericError
from qmpd.options.qemu_opts import Kind, parse_option_bool, parse_option_number, parse_option_size

_READ: Final[Mapping[Kind, Callable[[str, str], Any]]] = {
    Kind.STRING: lambda _, text: text,
    Kind.BOOL: parse_option_bool,
    Kind.NUMBER: parse_option_number,
    Kind.SIZE: parse_option_size,
}

COMMON: Final = {
    "node-name": Kind.STRING,
    "driver": Kind.STRING,
    "cache.direct": Kind.BOOL,
    "cache.no-flush": Kind.BOOL,
    "active": Kind.BOOL,
    "read-only": Kind.BOOL,
    "auto-read-only": Kind.BOOL,
    "detect-zeroes": Kind.STRING,
    "discard": Kind.STRING,
    "force-share": Kind.BOOL,
}
"""The options that all nodes have (``bdrv_runtime_opts``)."""

INHERITED: Final = {
    name: COMMON[name]
    for name in ("cache.direct", "cache.no-flush", "read-only", "auto-read-only", "force-share")
}
"""Those that a node takes from the one inside whose options it is defined."""

_DISCARD: Final = {"on": "unmap", "unmap": "unmap", "off": "ignore", "ignore": "ignore"}


class FlatOptions(dict[str, Any]):
    """Options of a node and of all that is defined inside it; read once, and taken out then."""

    @classmethod
    def flatten(cls, tree: Mapping[str, Any]) -> FlatOptions:
        """Those of a tree, such as a ``json:`` file name has (``qdict_flatten``)."""
        return cls(_flat_members(tree))

    def text(self, name: str) -> str | None:
        """The value of an option if it is a string."""
        value = self.get(name)
        return value if isinstance(value, str) else None

    def extract(self, name: str) -> FlatOptions:
        """Take out what is below a prefix (``qdict_extract_subqdict``)."""
        prefix = name + "."
        names = [key for key in self if key.startswith(prefix)]
        return FlatOptions({key.removeprefix(prefix): self.pop(key) for key in names})

    def child(
        self, name: str, filename: str | None = None, *, parse_filename: bool = False
    ) -> ChildOptions:
        """Take out what is said of a child.

        :param filename: the file name that comes from elsewhere
        :param parse_filename: whether that may begin with a protocol
        """
        options, reference = self.extract(name), self.text(name)
        self.pop(name, None)
        return ChildOptions(name, reference, filename, options, parse_filename)

    def order(self) -> list[str]:
        """The names in QEMU's order: of two in one bucket, copies have turned the order round."""
        return member_order(reversed(self))

    def take(self, kinds: Mapping[str, Kind]) -> dict[str, Any]:
        """Take out and read some options (``qemu_opts_absorb_qdict``).

        :raises GenericError: for the first malformed one, in the order of the table
        """
        taken: dict[str, Any] = {}
        # there may be a million others, which are put into no order
        for name in member_order([name for name in reversed(self) if name in kinds]):
            if (text := _text(self[name])) is not None:
                taken[name] = _READ[kinds[name]](name, text)
                del self[name]
        return taken

    def count(self, name: str) -> int:
        """How many elements the list below a prefix has; -1 if it is none."""
        prefix = name + "."
        below = [key.removeprefix(prefix) for key in self if key.startswith(prefix)]
        number = seen = 0
        while found := [key for key in below if key.partition(".")[0] == str(number)]:
            if len(found) > 1 and str(number) in found:
                return -1
            seen += len(found)
            number += 1
        return number if seen == len(below) else -1

    def tree(self, name: str) -> Any:
        """An option with all that is below it, as it was written."""
        if name in self:
            return self[name]
        prefix = name + "."
        below = FlatOptions(
            {key.removeprefix(prefix): self[key] for key in self if key.startswith(prefix)}
        )
        members = {key.partition(".")[0]: None for key in below}
        if members and all(map(is_index, members)):
            return [below.tree(member) for member in sorted(members, key=decimal_number)]
        return {member: below.tree(member) for member in members}


def is_index(word: str) -> bool:
    """Whether part of a name is the index of an element of a list (``qdict_is_list``)."""
    return word.isascii() and word.isdecimal() and decimal_number(word) < 1 << 63


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """What flat options say of a child.

    :param name: which child
    :param reference: the name of a node that is there already
    :param filename: a file name that did not come as option `filename`
    :param options: those of a new node
    :param parse_filename: whether the file name may begin with a protocol
    """

    name: str
    reference: str | None
    filename: str | None
    options: FlatOptions
    parse_filename: bool
    more: Mapping[str, Any] = field(default_factory=dict)
    """What no command line can say."""

    @property
    def is_given(self) -> bool:
        """Whether they say anything."""
        return bool(self.options) or self.reference is not None or self.filename is not None


def read_common(flat: FlatOptions) -> dict[str, Any]:
    """The common options as blockdev-add has them, as far as they can be read."""
    common: dict[str, Any] = {}
    for name in COMMON:
        if name not in flat:
            continue
        try:
            (value,) = FlatOptions({name: flat[name]}).take(COMMON).values()
        except (GenericError, ValueError):
            continue
        if name.startswith("cache."):
            common.setdefault("cache", {})[name.removeprefix("cache.")] = value
        elif name == "discard":
            common[name] = _DISCARD.get(value, "ignore")
        elif name != "detect-zeroes" or value in ("off", "on", "unmap"):
            common[name] = value
    return common


def check_common_words(flat: Mapping[str, Any]) -> None:
    """Check the common options whose values are words.

    :raises GenericError: there is no such
    """
    if flat.get("discard", "off") not in _DISCARD:
        raise GenericError("Invalid discard option")
    check_word(flat.get("detect-zeroes", "off"), ("off", "on", "unmap"))


def check_word(value: Any, words: tuple[str, ...]) -> None:
    """Whether a value is one of an enumeration (``qapi_enum_parse``).

    :raises GenericError: it is not
    """
    if value not in words:
        raise GenericError(f"invalid parameter value: {value}")


def _text(value: Any) -> str | None:
    """A value as QemuOpts has it; None if it cannot have it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (int, float)):
        return str(value)
    return value if isinstance(value, str) else None


def _flat_members(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for name, member in items:
        if isinstance(member, (Mapping, list)) and member:
            yield from _flat_members(member, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", member
