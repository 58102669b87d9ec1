"""``-object``: user-creatable objects, and the help about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.cli.report import CommandLineError
from qmpd.errors import GenericError
from qmpd.machine.object_words import check_old_object, in_old_words, in_words_of_options
from qmpd.options.block_tree import parse_tree, read_tree_value
from qmpd.options.keyval import parse_keyval
from qmpd.options.qemu_opts import Opts
from qmpd.profile.personality import Personality

_HELP: Final = re.compile(r"(?:^|,)(?:help|\?)(?:,|$)")
_RANGE: Final = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")
_LONGEST_RANGE: Final = 1 << 16

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.profile import Profile


def object_help(text: str, profile: Profile, personality: Personality) -> str | None:
    """The help that `text` asks for; None if it defines an object.

    :raises CommandLineError: there is no such type
    """
    if not _HELP.search(text):
        return None
    if text.startswith("{") and not profile.rules.holds("objects-without-schema"):
        return None
    try:
        parsed = parse_keyval(text, "qom-type")
    except GenericError:
        # what is wrong with it is told by whoever reads it
        return None
    if not parsed.wants_help:
        return None
    helps = profile.recorded(personality).helps
    name = parsed.tree.get("qom-type")
    found: str | None = helps["object"] if name is None else helps["objects"].get(name)
    if found is not None:
        return found
    if profile.rules.holds("objects-without-schema"):
        raise CommandLineError("Parameter 'id' is missing")
    if personality is Personality.SYSTEM:
        raise CommandLineError(f"Parameter 'qom-type' does not accept value '{name}'")
    listed: str = helps["object"]
    return listed


def read_flat_object(profile: Profile, opts: Opts) -> dict[str, Any]:
    """Read the properties of an object from QemuOpts syntax, which has no nested values.

    :raises GenericError: with QEMU's text
    """
    values: dict[str, Any] = opts.to_dict()
    old = profile.rules.holds("objects-without-schema")
    if old:
        check_old_object(profile, Personality.SYSTEM, values)
    qom_type = values.get("qom-type")
    if qom_type is None:
        raise CommandLineError("Parameter 'qom-type' is missing")
    nested = [name for name in values if "." in name]
    flat = {name: value for name, value in values.items() if name not in nested}
    if "host-nodes" in flat:
        flat["host-nodes"] = _numbers("host-nodes", flat["host-nodes"])
    try:
        plain = read_tree_value(profile.reader, "ObjectOptions", flat, keyval=True)
        for name in nested:
            raise GenericError(f"Parameter '{name}' is unexpected")
    except GenericError as error:
        if old:
            error = in_old_words(error, qom_type)
        raise CommandLineError(in_words_of_options(error).desc) from None
    return plain


def _numbers(name: str, text: str) -> list[str]:
    """A list of numbers, which are told by ranges (``opts_start_list``)."""
    found = _RANGE.fullmatch(text)
    if found is None:
        raise CommandLineError(f"Parameter '{name}' expects a uint64 value or range")
    first = int(found[1])
    last = first if found[2] is None else int(found[2])
    if not first <= last < first + _LONGEST_RANGE:
        raise CommandLineError(f"Parameter '{name}' expects a uint64 value or range")
    return [str(number) for number in range(first, last + 1)]


def add_object_of(machine: Machine, properties: Mapping[str, Any], *, any_id: bool = False) -> None:
    """Make an object.

    :param properties: with ``qom-type`` and ``id``
    :param any_id: whether the id may be malformed
    :raises QmpError: with QEMU's text
    """
    rest = dict(properties)
    qom_type, object_id = rest.pop("qom-type"), rest.pop("id")
    machine.objects.add(qom_type, object_id, rest, any_id=any_id)


def add_object(machine: Machine, text: str) -> None:
    """Make the object that `text` describes.

    :raises CommandLineError: a syntax error
    :raises GenericError: with QEMU's text
    """
    profile = machine.profile
    if profile.rules.holds("objects-without-schema"):
        _add_keyval_object(machine, text)
        return
    tree = parse_tree(text, "qom-type", profile.parse_json)
    properties = read_tree_value(
        profile.reader, "ObjectOptions", tree, keyval=not text.startswith("{")
    )
    add_object_of(machine, properties)


def _add_keyval_object(machine: Machine, text: str) -> None:
    """Make an object as 5.2's storage daemon does: never of JSON, and any id will do."""
    profile = machine.profile
    tree = parse_keyval(text, "qom-type").tree
    qom_type = check_old_object(profile, Personality.STORAGE_DAEMON, tree)
    try:
        properties = read_tree_value(profile.reader, "ObjectOptions", tree, keyval=True)
    except GenericError as error:
        raise in_old_words(error, qom_type, flat=False) from None
    add_object_of(machine, properties, any_id=True)
