"""What is wrong with an object, in the words of options, and in those of versions before 6.0.

Until then the schema did not have the properties of objects: they were set one by one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.profile import Personality, Profile

_OLD: Final = (
    (re.compile(r"Parameter '([^'.]*)' is unexpected"), r"Property '{}.\1' not found"),
    (re.compile(r"Parameter 'size' is missing"), "can't create backend with size 0"),
    (re.compile(r"Parameter 'mem-path' is missing"), "mem-path property not set"),
    (re.compile(r"Parameter 'netdev' is missing"), "Parameter 'netdev' is required"),
)
"""What is said of an object's properties before 6.0; ``{}`` is its type."""

_WITHIN: Final = re.compile(r"Parameter '([^'.]*\..*)' is unexpected")
"""A member of a property: options have properties of such names, objects do not."""

_UNSIGNED: Final = frozenset(
    "cbitpos compare_timeout expired_scan_cycle interval max_queue_size policy prealloc-threads"
    " queues reduced-phys-bits".split()
)
"""Properties that are numbers without a sign."""

_INTEGER: Final = re.compile(r"Parameter '(.*)' expects integer")


def check_old_object(
    profile: Profile, personality: Personality, properties: Mapping[str, object]
) -> str:
    """Check what 5.2 looks at before the properties of an object (``user_creatable_add_dict``).

    :returns: the object's type
    :raises GenericError: with QEMU's text
    """
    from qmpd.qapi.runtime.type_table import EnumInfo  # which a greeting does not need

    for name in ("qom-type", "id"):
        if not isinstance(properties.get(name), str):
            raise GenericError(f"Parameter '{name}' is missing")
    qom_type = str(properties["qom-type"])
    creatable = profile.types["ObjectType"]
    if isinstance(creatable, EnumInfo) and qom_type not in creatable.values:
        if qom_type in profile.recorded(personality).types.all:
            raise GenericError(f"object type '{qom_type}' isn't supported by object-add")
        raise GenericError(f"invalid object type: {qom_type}")
    return qom_type


def in_old_words(error: GenericError, qom_type: str, *, flat: bool = True) -> GenericError:
    """What is wrong with an object of `qom_type`, in the words of 5.2.

    :param flat: whether it was made by options, rather than by QMP
    """
    if flat and (found := _WITHIN.fullmatch(error.desc)):
        return GenericError(f"Property '{qom_type}.{found[1]}' not found")
    for pattern, words in _OLD:
        found = pattern.fullmatch(error.desc)
        if found is not None:
            return GenericError(found.expand(words).replace("{}", qom_type))
    return error


def in_words_of_options(error: GenericError) -> GenericError:
    """The same as it is said of options that are flat (``opts_visitor``)."""
    text = error.desc
    if text.endswith("' is unexpected"):
        return GenericError("Invalid " + text[0].lower() + text[1:].removesuffix(" is unexpected"))
    if text.endswith("' expects size"):
        return GenericError(text.replace("expects size", "expects a size value"))
    found = _INTEGER.fullmatch(text)
    if found is not None:
        number = "a uint64 value" if found[1] in _UNSIGNED else "an int64 value"
        return GenericError(f"Parameter '{found[1]}' expects {number}")
    return error
