"""What QEMU finds wrong with options when the machine is being made, in the words that it has then.

Nothing comes of most of these options, since no guest runs: what is wrong with them is told all the
same, and what a client could miss is refused.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from qmpd.base.scalars import parse_int64
from qmpd.cli.report import CommandLineError
from qmpd.cli.system.guest_files import is_there, look_at
from qmpd.options import groups
from qmpd.options.keyval import parse_keyval
from qmpd.options.qemu_opts import Opts, parse_opts, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qmpd.cli.report import Program
    from qmpd.cli.system.config import Located, SystemConfig

    TypeOf = Callable[[str], str | None]

_NO_FILE: Final = os.strerror(errno.ENOENT)
_LONGEST_NAME: Final = 55
_MOST_SLOTS: Final = 256
_USB_DEVICES: Final = frozenset("braille keyboard mouse tablet wacom-tablet".split())
_BOOT_RANGES: Final = {
    "splash-time": (0, "splash-time is invalid,it should be a value between 0 and 65535"),
    "reboot-timeout": (
        -1,
        "reboot timeout is invalid,it should be a value between -1 and 65535",
    ),
}
_MOST: Final = 0xFFFF


def check_board(config: SystemConfig, program: Program) -> None:
    """See what the board would do with files and numbers.

    :raises CommandLineError: with QEMU's text
    """
    kernel = config.of_kernel("kernel")
    for text in config.hardware.get("numa", ())[:1]:
        from qmpd.cli.system.numa_options import refuse_numa

        refuse_numa(f"-numa {text}", has_hardware=config.machine.has_hardware)
    if not config.machine.has_hardware:
        if kernel is not None:
            raise CommandLineError(
                "The -kernel parameter is not supported (use the generic 'loader' device instead).",
                location="",
            )
        _check_unused_vga(config.hardware.get("vga", ()), program)
        return
    if kernel is not None and not is_there(kernel):
        _refuse_as_qemu(program, f"could not open kernel file '{kernel}': {_NO_FILE}")
    for text in config.hardware.get("bios", ())[-1:]:
        if "/" in text and not is_there(text):
            _refuse_as_qemu(program, f"could not load PC BIOS '{text}'")
    _check_numbers(config)


def _refuse_as_qemu(program: Program, text: str) -> None:
    """Say something as the boards of PCs do, which call any program qemu."""
    program.name = "qemu"
    raise CommandLineError(text, location="")


def _check_unused_vga(values: Iterable[str], program: Program) -> None:
    if any(value.split(",")[0] != "none" for value in list(values)[-1:]):
        program.warn(
            "A -vga option was passed but this machine type does not use that option;"
            " No VGA device has been created",
            "",
        )


def _check_numbers(config: SystemConfig) -> None:
    for text in config.hardware.get("m", ()):
        slots = parse_opts(groups.MEMORY, text, silent).number("slots") or 0
        if slots > _MOST_SLOTS:
            raise CommandLineError(f"unsupported amount of memory slots: {slots}", location="")
    for text in config.hardware.get("boot", ()):
        tree = parse_keyval(text, "order").tree
        for name, (least, wrong) in _BOOT_RANGES.items():
            if name in tree and not least <= parse_int64(str(tree[name])) <= _MOST:
                raise CommandLineError(wrong, location="")
    for path in config.hardware.get("mem-path", ())[-1:]:
        if not path:
            text = f"can't open backing store  for guest RAM: {_NO_FILE}"
            raise CommandLineError(text, location="")


def check_fw_cfg(
    opts: Opts, warn: Callable[[str], None], *, has_device: bool, type_of: TypeOf
) -> None:
    """See what the firmware's device would make of one ``-fw_cfg`` (``parse_fw_cfg``).

    :param has_device: whether the machine has that device
    :param type_of: the QOM type of a user-creatable object; None: there is none of that id
    :raises CommandLineError: with QEMU's text
    """
    if not has_device:
        raise CommandLineError("fw_cfg device not available")
    name, file, generator = opts.get("name"), opts.get("file"), opts.get("gen_id")
    sources = [source for source in (file, opts.get("string"), generator) if source]
    if not name or len(sources) != 1:
        raise CommandLineError("name, plus exactly one of file, string and gen_id, are needed")
    if len(name) > _LONGEST_NAME:
        raise CommandLineError(f"name too long (max. {_LONGEST_NAME} char)")
    if not name.startswith("opt/"):
        warn('externally provided fw_cfg item names should be prefixed with "opt/"')
    if generator:
        found = type_of(generator)
        if found is None:
            raise CommandLineError(f"Cannot find object ID '{generator}'")
        if found != "tls-cipher-suites":
            raise CommandLineError(
                f"Object ID '{generator}' is not a 'fw_cfg-data-generator' subclass"
            )
    if file:
        try:
            look_at(file)
        except OSError as error:
            text = f"can't load {file}: Failed to open file \u201c{file}\u201d: {error.strerror}"
            raise CommandLineError(text) from None


def check_usb(thing: Located, program: Program, *, has_hardware: bool) -> None:
    """Refuse one ``-usbdevice``.

    :raises CommandLineError: with QEMU's text, or because there are no such devices
    """
    text = str(thing.what)
    if ":" in text:
        program.message("usbdevice parameters are not supported anymore", thing.location)
    elif text in _USB_DEVICES:
        if has_hardware:
            raise CommandLineError("USB devices (-usbdevice) are not served by qmpd")
        program.message(
            f"Error: no usb bus to attach usbdevice {text}, please try -machine usb=on and check"
            " that the machine model supports USB",
            thing.location,
        )
    raise CommandLineError(f"could not add USB device '{text}'")
