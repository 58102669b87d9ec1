"""``-display``, ``-vga`` and ``-vnc``: checked as QEMU checks them; qmpd has no display."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from qmpd.cli.report import CommandLineError, Probe
from qmpd.cli.system.given import Given
from qmpd.cli.system.listings import displays, recorded_help, vga_names
from qmpd.options.block_tree import parse_tree

if TYPE_CHECKING:
    from qmpd.profile import Profile

UNSEEN: Final = ("default", "none")
"""Those that show nothing."""

_OF_GUI: Final = ("gtk", "sdl", "spice-app")
"""Those that Debian has in a package of their own."""

_SDL: Final = re.compile(
    r"sdl(,(alt_grab|ctrl_grab|show-cursor|window_close)=(on|off)|,gl=(on|off|core|es))*"
)
"""What was once made of ``-display sdl``."""

_LAST_DISPLAY: Final = 65535 - 5900
"""The last display of VNC, whose ports begin at 5900."""

_RETRACES: Final = ("dumb", "precise")
ABSENT_VGAS: Final = {"qxl": "QXL VGA", "tcx": "TCX framebuffer", "cg3": "CG3 framebuffer"}
"""Those that are known, if not there."""


def check_display(text: str, given: Given) -> None:
    """Check one ``-display``.

    :raises CommandLineError: with QEMU's text, or because there is no such display
    """
    kind = text.split(",")[0].removeprefix("type=")
    if kind in ("help", "?"):
        raise Probe(displays(given.profile))
    if kind.startswith("vnc"):
        if "=" not in kind:
            raise CommandLineError("VNC requires a display argument vnc=<display>")
        check_vnc(kind.partition("=")[2], given)
        return
    profile = given.profile
    if kind.startswith("sdl") and profile.rules.holds("sdl-is-parsed-apart"):
        if _SDL.fullmatch(text) is None:
            raise CommandLineError("invalid SDL option string")
        tree: dict[str, Any] = {"type": "sdl"}
    else:
        tree = parse_tree(text, "type", profile.parse_json)
        profile.reader.read_plain("DisplayOptions", tree, keyval=not text.startswith("{"))
    _check_served(tree["type"], profile)
    if tree.get("gl", "off") != "off" and tree["type"] == "none":
        raise CommandLineError("OpenGL is not supported by display backend 'none'", location="")


def _check_served(kind: str, profile: Profile) -> None:
    """See that a display shows nothing.

    :raises CommandLineError: it does, or there is none
    """
    if kind in UNSEEN:
        return
    if kind in recorded_help(profile, "display").splitlines():
        raise CommandLineError(f"display '{kind}' is not served by qmpd", location="")
    text = f"Display '{kind}' is not available."
    if profile.rules.holds("packages-are-named"):
        package = "gui" if kind in _OF_GUI else "modules-opengl"
        text += f" Perhaps you want to install qemu-system-{package} package?"
    raise CommandLineError(text, location="")


def check_vnc(text: str, _given: Given) -> None:
    """Check one ``-vnc``.

    :raises CommandLineError: with QEMU's text, or because there is no VNC
    """
    address = text.split(",")[0]
    if text in ("", "none") or address == "none":
        return
    if not address.startswith("unix:"):
        _, colon, number = address.rpartition(":")
        if not colon:
            raise CommandLineError("no vnc port specified")
        if not number:
            raise CommandLineError("vnc port cannot be empty")
        if not (number.isascii() and number.isdecimal()):
            raise CommandLineError(f"can't convert to a number: {number}")
        if int(number) > _LAST_DISPLAY:
            raise CommandLineError(f"port {number} out of range")
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
