"""``-accel``: checked as QEMU checks it; no guest runs on any of them."""

from __future__ import annotations

from typing import Final

from qmpd.base.scalars import TooLarge, parse_uint64
from qmpd.cli.report import CommandLineError
from qmpd.options.qemu_opts import OptionGroup, Warn, parse_option_bool, parse_opts

ACCELERATORS: Final = ("tcg", "kvm", "qtest")
"""What ``-accel`` takes."""

_GROUP: Final = OptionGroup("accel", "accel", None)
_PROPERTIES: Final = {
    "tcg": "thread:t tb-size:u split-wx:b one-insn-per-tb:b",
    "kvm": "kernel-irqchip:k kvm-shadow-mem dirty-ring-size:u device notify-vmexit notify-window"
    " xen-version xen-gnttab-max-frames xen-evtchn-max-pirq",
}
"""Properties; ``:b`` a boolean, ``:u`` a 32-bit number, the others words of their own."""
_IRQCHIPS: Final = ("on", "off", "split")
_MOST: Final = (1 << 32) - 1


def check_accelerator(text: str, warn: Warn) -> str:
    """Check one ``-accel``; returns which it is.

    :raises CommandLineError: with QEMU's text
    """
    opts = parse_opts(_GROUP, text, warn)
    name = opts.get("accel") or ""
    check_name(name)
    kinds = dict(word.partition(":")[::2] for word in _PROPERTIES.get(name, "").split())
    for key, value in opts:
        if key == "accel":
            continue
        if key not in kinds:
            raise CommandLineError(f"Property '{name}-accel.{key}' not found")
        _check_value(key, value, kinds[key])
    return name


def check_name(name: str) -> None:
    """See that there is such an accelerator.

    :raises CommandLineError: with QEMU's text
    """
    if name not in ACCELERATORS:
        raise CommandLineError(f"invalid accelerator {name}")


def _check_value(name: str, value: str, kind: str) -> None:
    if kind == "b":
        parse_option_bool(name, value)
    elif kind == "u":
        try:
            number = parse_uint64(value)
        except (TooLarge, ValueError):
            raise CommandLineError(f"Parameter '{name}' expects uint64") from None
        if number > _MOST:
            raise CommandLineError(f"Parameter '{name}' expects uint32_t")
    elif kind == "t" and value not in ("single", "multi"):
        raise CommandLineError(f"Invalid 'thread' setting {value}")
    elif kind == "k" and value not in _IRQCHIPS:
        raise CommandLineError(f"Parameter '{name}' does not accept value '{value}'")
