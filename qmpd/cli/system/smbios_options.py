"""``-smbios``: tables that a guest would read, checked as ``smbios_entry_add`` checks them."""

from __future__ import annotations

import re
import uuid
from typing import Final

from qmpd.cli.system.given import Given
from qmpd.cli.system.guest_files import is_folder, is_there, look_at
from qmpd.errors import GenericError
from qmpd.options import groups
from qmpd.options.qemu_opts import OptionGroup, Opts

_ANY: Final = OptionGroup("smbios", None, None)
_FIELDS: Final = {
    0: "vendor version date release uefi:b",
    1: "manufacturer product version serial uuid sku family",
    2: "manufacturer product version serial asset location",
    3: "manufacturer version serial asset sku",
    4: "sock_pfx manufacturer version serial asset part max-speed:n current-speed:n"
    " processor-id:n processor-family:n",
    8: "internal_reference external_reference connector_type:n port_type:n",
    9: "slot_designation slot_type:n slot_data_bus_width:n current_usage:n slot_length:n"
    " slot_id:n slot_characteristics1:n slot_characteristics2:n pci_device",
    11: "value path",
    17: "loc_pfx bank manufacturer serial asset part speed:n",
    41: "designation kind instance:n pcidev",
}
"""What is told of each type of table; ``:n`` a number, ``:b`` a boolean."""

_KINDS_OF_DEVICES: Final = frozenset(
    "other unknown video scsi ethernet tokenring sound pata sata sas".split()
)
_RELEASE: Final = re.compile(r"\s*[+-]?\d+\.\s*[+-]?\d+")
_NUMBER: Final = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|[0-9]*)")
_LAST_TYPE: Final = 127
_HEADER: Final = 4
"""Bytes that a table begins with."""
_MOST_SPEED: Final = 0xFFFF


def _validated(opts: Opts, fields: str) -> Opts:
    checked = Opts(groups.group("smbios", None, fields))
    for name, value in opts:
        checked.set(name, value)
    return checked


def check_smbios(text: str, given: Given) -> None:
    """Check one ``-smbios``.

    :raises GenericError: with QEMU's text
    """
    opts = given.parse(_ANY, text)
    file, kind = opts.get("file"), opts.get("type")
    if file is not None:
        _validated(opts, "file")
        if not is_there(file) or is_folder(file) or look_at(file).st_size < _HEADER:
            raise GenericError(f"Cannot read SMBIOS file {file}")
        return
    if kind is None:
        raise GenericError("Must specify type= or file=")
    number = _type_number(kind)
    if not 0 <= number <= _LAST_TYPE:
        raise GenericError("out of range!")
    if number not in _FIELDS:
        raise GenericError(f"Don't know how to build fields for SMBIOS type {number}")
    _check_values(number, _validated(opts, f"type:n {_FIELDS[number]}"))


def _type_number(text: str) -> int:
    """What strtoul makes of it, which reads as far as it can."""
    found = _NUMBER.match(text)
    assert found is not None
    digits = found[2] or "0"
    base = 16 if digits[:2] in ("0x", "0X") else 8 if re.fullmatch("0[0-7]+", digits) else 10
    return -int(digits, base) if found[1] == "-" else int(digits, base)


def _check_values(number: int, opts: Opts) -> None:
    release = opts.get("release")
    if release is not None and _RELEASE.match(release) is None:
        raise GenericError("Invalid release")
    if number == 1 and (given := opts.get("uuid")) is not None:
        _check_uuid(given)
    for name in ("max-speed", "current-speed"):
        if number == 4 and (opts.number(name) or 0) > _MOST_SPEED:
            raise GenericError(f"SMBIOS CPU speed is too large (> {_MOST_SPEED})")
    kind = opts.get("kind")
    if kind is not None and kind not in _KINDS_OF_DEVICES:
        raise GenericError(f"invalid parameter value: {kind}")
    for name, path in opts:
        if name != "path":
            continue
        try:
            look_at(path)
        except OSError as error:
            raise GenericError(f"Could not open '{path}': {error.strerror}") from None
        if is_folder(path):
            raise GenericError(f"Unable to read from {path}: Is a directory")


def _check_uuid(text: str) -> None:
    if [len(part) for part in text.split("-")] != [8, 4, 4, 4, 12]:
        raise GenericError("Invalid UUID")
    try:
        uuid.UUID(text)
    except ValueError:
        raise GenericError("Invalid UUID") from None
