"""What a recording does not tell: names, paths, keys and whatever else somebody has chosen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from qmpd.qapi.runtime.type_table import EnumInfo
from qmpd.sim.record.normal import GENERATED

if TYPE_CHECKING:
    from qmpd.profile import Profile

_CLASSES: Final = (
    "CommandNotFound",
    "DeviceNotActive",
    "DeviceNotFound",
    "GenericError",
    "KVMMissingCap",
)
_TEXTS: Final = frozenset({"desc", "error", "reason", "msg"})
"""Members that are sentences, with names in them."""
_KEYS: Final = frozenset({"data", "password"})
"""Members whose text is secret, whatever it is."""
_IN_SENTENCES: Final = re.compile(r"'[^']*'|\"[^\"]*\"|(?<![\w.])/[^\s:,'\"]+")
"""What is quoted, and paths."""


def vocabulary(*profiles: Profile) -> frozenset[str]:
    """The words of QMP itself, in each version: of enums, and names of commands and events."""
    words = {*_CLASSES, ""}
    for profile in profiles:
        for name in profile.types.names():
            info = profile.types.get(name)
            if isinstance(info, EnumInfo):
                words.update(info.values)
        words.update(profile.entry_points.commands)
        words.update(profile.entry_points.events)
    return frozenset(words)


class Redaction:
    """Puts ``name-1``, ``name-2``, ... in the place of all text that is not QMP's own.

    The same text has the same name everywhere, so that the session can still be compared and
    replayed.  Numbers and member names stay.

    :param words: the texts that stay
    """

    def __init__(self, words: frozenset[str]) -> None:
        self._words = words
        self._names: dict[str, str] = {}
        self._known: re.Pattern[str] | None = None

    def of_message(self, value: Any, member: str = "") -> Any:
        """A message, or a part of one, without what is not to be told.

        :param member: its name, if it is a member of an object
        """
        if isinstance(value, dict):
            return {name: self.of_message(part, name) for name, part in value.items()}
        if isinstance(value, list):
            return [self.of_message(part, member) for part in value]
        if not isinstance(value, str):
            return value
        if member in _TEXTS and " " in value:
            return self._sentence(value)
        return self._made_up(value) if member in _KEYS else self._name(value)

    def _name(self, text: str) -> str:
        if text in self._words or GENERATED.fullmatch(text):
            return text
        return self._made_up(text)

    def _made_up(self, text: str) -> str:
        if text not in self._names:
            self._names[text] = f"name-{len(self._names) + 1}"
            self._known = None
        return self._names[text]

    def _sentence(self, text: str) -> str:
        text = _IN_SENTENCES.sub(self._part, text)
        if self._known is None:
            long = (name for name in self._names if len(name) > 2)
            names = sorted(map(re.escape, long), key=len, reverse=True)
            self._known = re.compile(rf"(?<!\w)(?:{'|'.join(names)})(?!\w)") if names else None
        if self._known is None:
            return text
        return self._known.sub(lambda found: self._names[found.group()], text)

    def _part(self, found: re.Match[str]) -> str:
        part = found.group()
        if part[0] in "'\"":
            return part[0] + self._name(part[1:-1]) + part[-1]
        return self._name(part)
