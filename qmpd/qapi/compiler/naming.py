"""The rules for names, and the C identifiers by which names clash."""

from __future__ import annotations

import re

from qmpd.qapi.compiler.dialect import Rule
from qmpd.qapi.compiler.source import Site

_NAME = re.compile(r"(?:__[a-z0-9.-]+_)?(?:x-)?([a-z][a-z0-9_-]*)", re.IGNORECASE)
_CAMEL_CASE = re.compile(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")
_TO_C = str.maketrans(".-", "__")


def c_name(name: str) -> str:
    """The C identifier made of `name`: names equal in C must not meet in one type."""
    return name.translate(_TO_C)


def _stem(name: str, site: Site, what: str) -> str:
    """`name` without downstream prefix (``__com.example_``) and ``x-``.

    :raises QapiError: not a name, or of the reserved ``q_`` space
    """
    match = _NAME.fullmatch(name)
    if match is None or c_name(name).startswith("q_"):
        raise site.error(f"{what} has an invalid name")
    return match.group(1)


def check_lower(name: str, site: Site, what: str, rule: Rule = Rule.STRICT) -> None:
    """Check the name of a member, enum value or feature: ``lower-case``.

    :param what: what bears the name, for the error
    :param rule: lenient: upper case is wrong, ``_`` is not; none: neither is
    :raises QapiError: invalid, reserved or in the wrong case
    """
    stem = _stem(name, site, what)
    if rule is Rule.STRICT and re.search(r"[A-Z_]", stem):
        raise site.error(f"name of {what} must not use uppercase or '_'")
    if rule is Rule.LENIENT and re.search(r"[A-Z]", stem):
        raise site.error(f"{what} uses uppercase in name")


def check_definition_name(site: Site, *, exempt: bool, strict: bool, kinds: bool) -> None:
    """Check the name of `site`: ``command-name``, ``EVENT_NAME`` or ``TypeName``.

    :param exempt: a pragma tolerates ``_`` in this command's name
    :param strict: it must be spelled so; else any valid name will do
    :param kinds: the suffix ``Kind`` belongs to the compiler: it makes such enums itself for
        unions without a discriminator
    :raises QapiError: invalid, reserved or in the wrong case
    """
    name, what = site.name, site.meta
    stem = _stem(name, site, what)
    if strict:
        _check_spelling(stem, site, exempt)
    if what not in ("command", "event"):
        for suffix in ("List", "Kind") if kinds else ("List",):
            if name.endswith(suffix):
                raise site.error(f"{what} name should not end in '{suffix}'")


def _check_spelling(stem: str, site: Site, exempt: bool) -> None:
    what = site.meta
    if what == "event":
        if re.search(r"[a-z-]", stem):
            raise site.error(f"name of {what} must not use lowercase or '-'")
    elif what == "command":
        if re.search(r"[A-Z]" if exempt else r"[A-Z_]", stem):
            raise site.error(f"name of {what} must not use uppercase or '_'")
    elif not _CAMEL_CASE.fullmatch(stem):
        raise site.error(f"name of {what} must use CamelCase")


def is_reserved_member(name: str) -> bool:
    """Whether generated C code needs the member name for itself: ``u``, ``has_*``."""
    return c_name(name) == "u" or c_name(name).startswith("has_")
