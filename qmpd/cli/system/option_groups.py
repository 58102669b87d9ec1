"""The parameters of options, group by group, as each version has them (``QemuOptsList``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.options import groups
from qmpd.options.qemu_opts import Kind, OptionGroup
from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from qmpd.profile import Profile

_KINDS: Final = {
    "string": Kind.STRING,
    "boolean": Kind.BOOL,
    "number": Kind.NUMBER,
    "size": Kind.SIZE,
}
_ANY: Final = ("device", "drive", "machine", "object")
"""Groups that take parameters of any name, although query-command-line-options lists some."""
_KNOWN: Final = {
    group.name: group for group in vars(groups).values() if isinstance(group, OptionGroup)
}


def option_groups(profile: Profile) -> dict[str, OptionGroup]:
    """All groups of a version, by their names."""
    found = {}
    for entry in profile.recorded(Personality.SYSTEM).options:
        name = entry["option"]
        kinds = {each["name"]: _KINDS[each["type"]] for each in entry["parameters"]}
        known = _KNOWN.get(name, OptionGroup(name, None, None))
        found[name] = known._replace(kinds=None if name in _ANY or not kinds else kinds)
    return found


def help_text(profile: Profile, name: str) -> str:
    """The list of a group's parameters that ``help`` prints (``qemu_opts_print_help``)."""
    (group,) = (
        each for each in profile.recorded(Personality.SYSTEM).options if each["option"] == name
    )
    lines = []
    for each in group["parameters"]:
        line = f"  {each['name']}=<{_KINDS[each['type']].value}>"
        lines.append(f"{line:<24} - {each['help']}" if "help" in each else line)
    return "\n".join([f"{name} options:", *sorted(lines)]) + "\n"
