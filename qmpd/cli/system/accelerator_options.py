"""``-accel``: checked as QEMU checks it; no guest runs on any of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from qmpd.base.scalars import TooLarge, parse_int64, parse_uint64
from qmpd.cli.report import CommandLineError, Program
from qmpd.cli.system.probe_lists import listing
from qmpd.errors import GenericError
from qmpd.options.qemu_opts import OptionGroup, Opts, parse_option_bool

if TYPE_CHECKING:
    from qmpd.profile import Profile
    from qmpd.profile.rule import Release

GROUP: Final = OptionGroup("accel", "accel", None)
_SERVED: Final = ("tcg", "kvm", "qtest")
"""What a machine of qmpd passes for."""

_PROPERTIES: Final[tuple[tuple[Release, str, str], ...]] = (
    ((0, 0), "tcg", "thread:t tb-size:u32"),
    ((6, 0), "tcg", "split-wx:b"),
    ((8, 1), "tcg", "one-insn-per-tb:b"),
    ((0, 0), "kvm", "kernel-irqchip:k kvm-shadow-mem:i"),
    ((6, 1), "kvm", "dirty-ring-size:u32"),
    ((7, 2), "kvm", "notify-vmexit:v notify-window:u32"),
    ((8, 0), "kvm", "device xen-version:u32 xen-gnttab-max-frames:u16 xen-evtchn-max-pirq:u16"),
    ((9, 1), "kvm", "rapl:b rapl-helper-socket"),
    ((10, 1), "kvm", "honor-guest-pat:a"),
    ((0, 0), "xen", "igd-passthru:b"),
)
"""Properties, and since which version they are there: ``:b`` a boolean, ``:i`` and ``:u`` numbers,
others words of their own."""

_WORDS: Final = {
    "k": ("on", "off", "split"),
    "v": ("run", "internal-error", "disable"),
    "a": ("on", "off", "auto"),
}


def known_accelerators(profile: Profile) -> tuple[str, ...]:
    """The names that a version knows."""
    return (*listing(profile, "accel").split()[5:], "qtest")


def configure(tried: Iterable[tuple[Opts, str]], profile: Profile, program: Program) -> str:
    """See which accelerator it is: the first that there is (``configure_accelerators``).

    :param tried: the parameters and the location of each, in the order of preference
    :param program: tells of those that there are not
    :raises CommandLineError: with QEMU's text
    """
    known = known_accelerators(profile)
    wrong: list[CommandLineError] = []
    for opts, location in tried:
        name = opts.get("accel") or ""
        if name in known:
            _check_properties(opts, name, profile, location)
            for error in wrong:
                program.complain(error)
            if wrong:
                program.message(f"falling back to {name}")
            return name
        wrong.append(CommandLineError(f"invalid accelerator {name}", location=location))
    for error in wrong[:-1]:
        program.complain(error)
    raise wrong[-1]


def _check_properties(opts: Opts, accelerator: str, profile: Profile, location: str) -> None:
    release = profile.version[:2]
    kinds = dict(
        word.partition(":")[::2]
        for first, name, words in _PROPERTIES
        if name == accelerator and first <= release
        for word in words.split()
    )
    try:
        for key, value in opts:
            if key == "accel":
                continue
            if key not in kinds:
                raise GenericError(f"Property '{accelerator}-accel.{key}' not found")
            _check_value(key, value, kinds[key])
    except GenericError as error:
        raise CommandLineError(error.desc, error.hint, location) from None
    if accelerator not in _SERVED:
        text = f"accelerator {accelerator} is not served by qmpd"
        raise CommandLineError(text, location=location)


def _check_value(name: str, value: str, kind: str) -> None:
    if kind == "b":
        parse_option_bool(name, value)
    elif kind == "i":
        try:
            parse_int64(value)
        except ValueError:
            raise GenericError(f"Parameter '{name}' expects int64") from None
    elif kind.startswith("u"):
        try:
            number = parse_uint64(value)
        except (TooLarge, ValueError):
            raise GenericError(f"Parameter '{name}' expects uint64") from None
        if number >> int(kind[1:]):
            raise GenericError(f"Parameter '{name}' expects uint{kind[1:]}_t")
        if name == "dirty-ring-size" and number & (number - 1):
            raise GenericError("dirty-ring-size must be a power of two.")
    elif kind == "t" and value not in ("single", "multi"):
        raise GenericError(f"Invalid 'thread' setting {value}")
    elif kind in _WORDS and value not in _WORDS[kind]:
        raise GenericError(f"Parameter '{name}' does not accept value '{value}'")
