"""``-compat``, ``-incoming`` and ``-uuid``: what their values mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.cli.report import CommandLineError
from qmpd.errors import NotServed
from qmpd.options.block_tree import parse_tree, read_option_value
from qmpd.options.keyval import parse_keyval

if TYPE_CHECKING:
    from qmpd.profile import Profile

COMPAT_VALUES: Final = {
    "deprecated-input": ("accept", "reject", "crash"),
    "deprecated-output": ("accept", "hide"),
    "unstable-input": ("accept", "reject", "crash"),
    "unstable-output": ("accept", "hide"),
}
"""Policies of ``-compat``."""


def read_uuid(text: str) -> str:
    """The UUID of ``-uuid``, as QEMU writes it.

    :raises CommandLineError: it is none
    """
    import uuid

    digits = text.replace("-", "")
    if [len(part) for part in text.split("-")] != [8, 4, 4, 4, 12] or any(
        digit not in "0123456789abcdefABCDEF" for digit in digits
    ):
        raise CommandLineError("failed to parse UUID string: wrong format")
    return str(uuid.UUID(digits))


def read_incoming(text: str, profile: Profile) -> dict[str, Any] | None:
    """The channel of ``-incoming`` (``incoming_option_parse``); None: it is told later.

    :raises QmpError: with QEMU's text
    """
    from qmpd.machine.migration.address import is_uri, parse_uri

    if is_uri(text):
        return {"channel-type": "main", "addr": parse_uri(text)}
    if text == "defer":
        return None
    channel = read_option_value(profile.reader, "MigrationChannel", text, "channel-type")
    if channel["channel-type"] != "main":
        raise NotServed("Migration with a 'cpr' channel is not served by qmpd")
    return channel


def read_compat(text: str, profile: Profile) -> dict[str, str]:
    """The policies of ``-compat``.

    :raises CommandLineError: with QEMU's text
    """
    if text.startswith("{"):
        tree = parse_tree(text, None, profile.parse_json)
    else:
        tree = dict(parse_keyval(text).tree)
    policies = {}
    for name, allowed in COMPAT_VALUES.items():
        value = tree.pop(name, None)
        if value is None:
            continue
        if not isinstance(value, str):
            raise CommandLineError(f"Invalid parameter type for '{name}', expected: string")
        if value not in allowed:
            raise CommandLineError(f"Parameter '{name}' does not accept value '{value}'")
        policies[name] = value
    for name in tree:
        raise CommandLineError(f"Parameter '{name}' is unexpected")
    return policies
