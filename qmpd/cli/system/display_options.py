"""``-display``, ``-vga`` and ``-vnc``: checked as QEMU checks them; qmpd has no display."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from qmpd.cli.report import CommandLineError, Probe
from qmpd.cli.system.given import Given
from qmpd.cli.system.listings import displays, vga_names
from qmpd.options.keyval import parse_keyval
from qmpd.options.qemu_opts import parse_option_bool

if TYPE_CHECKING:
    from qmpd.profile import Profile

DISPLAYS: Final = {
    "default": (),
    "none": (),
    "gtk": ("grab-on-hover", "zoom-to-fit", "show-tabs", "show-menubar", "scale"),
    "sdl": ("grab-mod",),
    "egl-headless": ("rendernode",),
    "curses": ("charset",),
    "spice-app": (),
    "dbus": ("rendernode", "addr", "p2p", "audiodev"),
}
"""Display types, and the parameters that only they have."""

UNSEEN: Final = ("default", "none")
"""Those that show nothing."""

_COMMON: Final = ("type", "full-screen", "window-close", "show-cursor", "gl")
_BOOLEAN: Final = (
    *("full-screen", "window-close", "show-cursor"),
    *("grab-on-hover", "zoom-to-fit", "show-tabs", "show-menubar"),
    "p2p",
)
"""Parameters that are on or off, in the order in which they are read."""
_GL: Final = ("on", "off", "core", "es")

_RETRACES: Final = ("dumb", "precise")
ABSENT_VGAS: Final = {"qxl": "QXL VGA", "tcx": "TCX framebuffer", "cg3": "CG3 framebuffer"}
"""Those that are known, if not there."""


def check_display(text: str, given: Given) -> None:
    """Check one ``-display``.

    :raises CommandLineError: with QEMU's text, or because there is no such display
    """
    kind = text.split(",")[0].removeprefix("type=")
    if kind in ("help", "?"):
        raise Probe(displays())
    if kind.startswith("vnc"):
        if "=" not in kind:
            raise CommandLineError("VNC requires a display argument vnc=<display>")
        check_vnc(kind.partition("=")[2], given)
        return
    tree = parse_keyval(text, "type").tree
    if "type" not in tree:
        raise CommandLineError("Parameter 'type' is missing")
    if kind not in DISPLAYS:
        raise CommandLineError(f"Parameter 'type' does not accept value '{kind}'")
    for name in _BOOLEAN:
        if name in tree and name in (*_COMMON, *DISPLAYS[kind]):
            parse_option_bool(name, str(tree[name]))
    if str(tree.get("gl", "off")) not in _GL:
        raise CommandLineError(f"Parameter 'gl' does not accept value '{tree['gl']}'")
    for name in tree:
        if name not in (*_COMMON, *DISPLAYS[kind]):
            raise CommandLineError(f"Parameter '{name}' is unexpected")
    if kind not in UNSEEN:
        raise CommandLineError(f"display '{kind}' is not served by qmpd", location="")
    if tree.get("gl", "off") != "off" and kind == "none":
        raise CommandLineError("OpenGL is not supported by display backend 'none'", location="")


def check_vnc(text: str, _given: Given) -> None:
    """Check one ``-vnc``."""
    if text.split(",")[0] not in ("none", ""):
        raise CommandLineError("VNC is not served by qmpd")


def check_vga(text: str, profile: Profile) -> None:
    """Check the last ``-vga`` (``select_vgahw``).

    :raises CommandLineError: with QEMU's text
    """
    listed = vga_names(profile)
    names = [*listed, *(name for name in ABSENT_VGAS if name not in listed)]
    name = next((name for name in names if text.startswith(name)), None)
    if name is not None and name not in listed:
        text = f"{ABSENT_VGAS[name]} not available"
        if profile.rules.holds("packages-are-named"):
            package = "spice" if name == "qxl" else "opengl"
            text += f". Perhaps you want to install qemu-system-modules-{package} package?"
        raise CommandLineError(text, location="")
    rest = "," if name is None else text.removeprefix(name)
    while rest.startswith(",retrace="):
        rest = rest.removeprefix(",retrace=")
        way = next((way for way in _RETRACES if rest.startswith(way)), None)
        rest = "," if way is None else rest.removeprefix(way)
    if rest:
        raise CommandLineError(f"unknown vga type: {text}", location="")


CHECKS: Final[dict[str, Callable[[str, Given], None]]] = {
    "display": check_display,
    "vnc": check_vnc,
}
