"""The runtime options of a qcow2 node as ``-drive`` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.block.drivers.formats.qcow2.options import (
    OVERLAP_OPTIONS,
    OVERLAP_TEMPLATES,
    SIZE_OPTIONS,
)
from qmpd.errors import GenericError
from qmpd.options.qemu_opts import Kind

if TYPE_CHECKING:
    from qmpd.block.model.flat_options import FlatOptions

_OVERLAP: Final = "overlap-check"
_PLAIN: Final = {
    "lazy-refcounts": Kind.BOOL,
    "pass-discard-request": Kind.BOOL,
    "pass-discard-snapshot": Kind.BOOL,
    "pass-discard-other": Kind.BOOL,
    "discard-no-unref": Kind.BOOL,
    **dict.fromkeys(SIZE_OPTIONS, Kind.SIZE),
    "cache-clean-interval": Kind.NUMBER,
}
_ALL: Final = {
    **_PLAIN,
    _OVERLAP: Kind.STRING,
    f"{_OVERLAP}.template": Kind.STRING,
    **{f"{_OVERLAP}.{name}": Kind.BOOL for name in OVERLAP_OPTIONS},
    "encrypt.key-secret": Kind.STRING,
}


def take_options(flat: FlatOptions) -> dict[str, Any]:
    """Read them, and take them out.

    :returns: as blockdev-add has them
    :raises GenericError: one is malformed
    """
    data_file = flat.child("data-file")
    given = flat.take(_ALL)
    options = {name: given[name] for name in given if name in _PLAIN}
    checks = _overlap_check(given)
    if checks:
        options[_OVERLAP] = checks
    encrypt = dict(flat.extract("encrypt"))
    if "encrypt.key-secret" in given:
        encrypt["key-secret"] = given["encrypt.key-secret"]
    if encrypt.keys() & {"format", "key-secret"}:
        options["encrypt"] = encrypt
    if data_file.is_given:
        options["data-file"] = data_file
    return options


def _overlap_check(given: dict[str, Any]) -> dict[str, Any]:
    """The checks to do: a template, and what differs from it."""
    template, other = given.get(f"{_OVERLAP}.template"), given.get(_OVERLAP)
    if template is not None and other is not None and template != other:
        raise GenericError(
            f"Conflicting values for qcow2 options '{_OVERLAP}' ('{other}') and"
            f" '{_OVERLAP}.template' ('{template}')"
        )
    chosen = template if other is None else other
    if chosen is not None and chosen not in OVERLAP_TEMPLATES:
        raise GenericError(
            f"Unsupported value '{chosen}' for qcow2 option '{_OVERLAP}'. Allowed are any of the"
            " following: none, constant, cached, all"
        )
    members = {name: given.get(f"{_OVERLAP}.{name}") for name in OVERLAP_OPTIONS}
    checks = {name: value for name, value in members.items() if value is not None}
    return checks if chosen is None else {"template": chosen, **checks}
