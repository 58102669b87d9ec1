"""``-tpmdev``: what is wrong is told as QEMU tells it; what is right is not served."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import Final

from qmpd.cli.system.guest_files import look_at
from qmpd.errors import GenericError
from qmpd.options.qemu_opts import OptionGroup, Opts

GROUP: Final = OptionGroup("tpmdev", "type", None)
_PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    "passthrough": ("type", "path", "cancel-path"),
    "emulator": ("type", "chardev"),
}
TYPES: Final = (
    "Supported TPM types (choose only one):\n"
    " passthrough   Passthrough TPM backend driver\n"
    "    emulator   TPM emulator backend driver"
)
"""The list of them."""


def check_tpm(opts: Opts, has_chardev: Callable[[str], bool]) -> None:
    """See what QEMU would make of one ``-tpmdev`` (``tpm_init_tpmdev``).

    :param has_chardev: whether there is a character device of that id
    :raises GenericError: always: with QEMU's text, or because there is no TPM
    """
    kind = opts.get("type")
    if opts.id is None:
        raise GenericError("Parameter 'id' is missing")
    if kind is None:
        raise GenericError("Parameter 'type' is missing", TYPES)
    if kind not in _PARAMETERS:
        raise GenericError("Parameter 'type' expects a TPM backend type", TYPES)
    for name, _ in opts:
        if name not in _PARAMETERS[kind]:
            raise GenericError(f"Invalid parameter '{name}'")
    if kind == "passthrough":
        _check_host(opts.get("path") or "/dev/tpm0")
    else:
        chardev = opts.get("chardev")
        if chardev is None:
            raise GenericError("tpm-emulator: parameter 'chardev' is missing")
        if not has_chardev(chardev):
            raise GenericError(f"tpm-emulator: tpm chardev '{chardev}' not found")
    raise GenericError("TPM devices (-tpmdev) are not served by qmpd")


def _check_host(path: str) -> None:
    try:
        mode = look_at(path).st_mode
    except OSError as error:
        text = f"Cannot access TPM device using '{path}': {error.strerror}"
        raise GenericError(text) from None
    if not stat.S_ISCHR(mode) or path == os.devnull:
        raise GenericError(f"'{path}' is not a TPM device.")
