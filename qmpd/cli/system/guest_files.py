"""Files that a guest would see: ``-acpitable``, ``-fsdev``, ``-virtfs``, and what others name.

They are checked as QEMU checks them; there is no guest to see anything.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from typing import Final

from qmpd.cli.system.given import Given
from qmpd.errors import GenericError
from qmpd.options.qemu_opts import Kind, OptionGroup

_ACPI: Final = OptionGroup(
    "acpi",
    "data",
    {
        **dict.fromkeys(("sig", "oem_id", "oem_table_id", "asl_compiler_id"), Kind.STRING),
        **dict.fromkeys(("rev", "oem_rev", "asl_compiler_rev"), Kind.STRING),
        **dict.fromkeys(("data", "file"), Kind.STRING),
    },
)
_LIMITS: Final = tuple(
    f"throttling.{kind}-{which}{more}"
    for kind in ("iops", "bps")
    for which in ("total", "read", "write")
    for more in ("", "-max", "-max-length")
)
_HEADER: Final = 36
"""Bytes that a table begins with."""

_NUMBER: Final = r"0[xX][0-9a-fA-F]+|[0-9]+"
_NUMBERS: Final = ("rev", "oem_rev", "asl_compiler_rev")

_FSDEV: Final = OptionGroup(
    "fsdev",
    "fsdriver",
    dict.fromkeys(
        (
            *("fsdriver", "path", "security_model", "writeout", "multidevs", "readonly"),
            *("socket", "sock_fd", "fmode", "dmode", "mount_tag", "throttling.iops-size", *_LIMITS),
        ),
        Kind.STRING,
    ),
)
_DRIVERS: Final = ("local", "synth", "proxy")
_MODELS: Final = ("passthrough", "mapped-xattr", "mapped-file", "none")


def look_at(path: str) -> os.stat_result:
    """What is at a path that an option names.

    :raises OSError: nothing is there, or it cannot be reached
    """
    return os.stat(path)


def is_there(path: str) -> bool:
    """Whether there is anything."""
    try:
        look_at(path)
    except OSError:
        return False
    return True


def is_folder(path: str) -> bool:
    """Whether there is a directory."""
    return is_there(path) and stat.S_ISDIR(look_at(path).st_mode)


def _table(text: str, given: Given) -> None:
    """``acpi_table_add``: all files are read, and make one table."""
    opts = given.parse(_ACPI, text)
    for name in _NUMBERS:
        if re.fullmatch(_NUMBER, opts.get(name) or "0") is None:
            raise GenericError(f"Parameter '{name}' expects a uint64 value")
    data, file = opts.get("data"), opts.get("file")
    if bool(data) == bool(file):
        raise GenericError("'-acpitable' requires one of 'data' or 'file'")
    content = b""
    for name in (data or file or "").split(":"):
        try:
            with open(name, "rb") as opened:
                content += opened.read()
        except OSError as error:
            raise GenericError(f"can't open file {name}: {error.strerror}") from None
    if file and len(content) < _HEADER:
        raise GenericError(
            "ACPI table claiming to have header is too short,"
            f" available: {len(content)}, expected: {_HEADER}"
        )
    if data and {name for name, _ in opts} <= {"data"}:
        given.warn("ACPI table: no headers are specified", None)


def _file_system(text: str, given: Given) -> None:
    """``qemu_fsdev_add``."""
    opts = given.parse(_FSDEV, text)
    if opts.id is None:
        raise GenericError("fsdev: No id specified")
    driver = opts.get("fsdriver")
    if driver is None:
        raise GenericError("fsdev: No fsdriver specified")
    if driver not in _DRIVERS:
        raise GenericError(f"fsdev: fsdriver {driver} not found")
    if driver == "local":
        model = opts.get("security_model")
        hint = f"Valid options are: security_model=[{'|'.join(_MODELS)}]"
        if model is None:
            raise GenericError("security_model property not set", hint)
        if model not in _MODELS:
            raise GenericError(f"invalid security_model property '{model}'", hint)
        if opts.get("path") is None:
            raise GenericError("path property not set")


def _shared_folder(text: str, given: Given) -> None:
    opts = given.parse(_FSDEV, text)
    if opts.get("fsdriver") is None or opts.get("mount_tag") is None:
        raise GenericError("Usage: -virtfs fsdriver,mount_tag=tag")


CHECKS: Final[dict[str, Callable[[str, Given], None]]] = {
    "acpitable": _table,
    "fsdev": _file_system,
    "virtfs": _shared_folder,
}
