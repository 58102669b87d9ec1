"""Options of qemu-system-x86_64 that only some versions have, as the real programs take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from qmpd.cli.system.qemu_options import USUAL, KnownOptions
from qmpd.profile.rule import NEWEST, OLDEST, Release

if TYPE_CHECKING:
    from qmpd.profile import Profile


class _Span(NamedTuple):
    """Options, and the versions that have them: of those measured, the first and the last."""

    names: str
    first: Release = OLDEST
    last: Release = NEWEST


_WITH_ARGUMENT: Final = (
    _Span("action compat audio", first=(6, 0)),
    _Span("run-with shim", first=(9, 0)),
    _Span("chroot rotate runas", last=(8, 2)),
    _Span("realtime soundhw tb-size watchdog writeconfig", last=(5, 2)),
)

_WITHOUT_ARGUMENT: Final = (
    _Span("jitdump perfmap", first=(8, 0)),
    _Span("old-param", last=(10, 2)),
    _Span("audio-help no-acpi no-hpet portrait singlestep", last=(8, 2)),
    _Span("async-teardown", first=(7, 0), last=(8, 2)),
    _Span("alt-grab ctrl-grab curses enable-fips no-quit sdl show-cursor", last=(5, 2)),
)


def options_of(profile: Profile) -> KnownOptions:
    """The options of a version."""
    release = profile.version[:2]
    return KnownOptions(
        _of(USUAL.with_argument, _WITH_ARGUMENT, release),
        _of(USUAL.without_argument, _WITHOUT_ARGUMENT, release),
    )


def _of(usual: frozenset[str], spans: tuple[_Span, ...], release: Release) -> frozenset[str]:
    known = set(usual)
    for span in spans:
        names = span.names.split()
        if span.first <= release <= span.last:
            known.update(names)
        else:
            known.difference_update(names)
    return frozenset(known)


MACHINE_PROPERTIES: Final = {"no-acpi": ("acpi", "off"), "no-hpet": ("hpet", "off")}
"""Options that stand for a property of the machine."""

UNSERVED: Final = frozenset(
    "audio-help chroot curses realtime rotate runas sdl soundhw watchdog writeconfig".split()
)
"""Options that are refused because a client could rely on their effect."""
