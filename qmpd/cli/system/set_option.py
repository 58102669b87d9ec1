"""``-set GROUP.ID.PARAMETER=VALUE``: another parameter for an option before it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from qmpd.cli.report import CommandLineError
from qmpd.options.qemu_opts import Opts

_WORD: Final = re.compile(r"([^.]{1,63})\.([^.]{1,63})\.([^=]{1,63})=(.*)", re.DOTALL)
_GROUPS: Final = ("drive", "device", "chardev", "netdev", "mon", "net", "memory")
_NO_GROUPS: Final = ("object", "machine", "smp-opts", "boot-opts")


def set_option(places: Mapping[str, Iterable[Any]], text: str) -> None:
    """Set a parameter (``qemu_set_option``).

    :param places: the options so far, by their groups: Opts, or objects of JSON
    :raises CommandLineError: there is no such option
    """
    found = _WORD.match(text)
    if found is None:
        raise CommandLineError(f'can\'t parse: "{text}"')
    group, name, parameter, value = found.groups()
    if group in _NO_GROUPS:
        raise CommandLineError(f"-set is not supported with {group}")
    if group not in _GROUPS:
        raise CommandLineError(f"There is no option group '{group}'")
    for thing in places.get(group, ()):
        if isinstance(thing, Opts) and thing.id == name:
            thing.set(parameter, value)
            return
        if isinstance(thing, dict) and thing.get("id") == name:
            thing[parameter] = value
            return
    raise CommandLineError(f'there is no {group} "{name}" defined')
