"""``-audiodev`` and ``-audio``: checked as QEMU checks them; qmpd has no sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.cli.report import CommandLineError, Probe
from qmpd.cli.system.listings import audio_drivers
from qmpd.errors import GenericError
from qmpd.options.block_tree import read_option_value, read_tree_value
from qmpd.options.keyval import parse_keyval

if TYPE_CHECKING:
    from qmpd.qapi.runtime.arguments import Reader

SILENT: Final = ("none", "wav", "alsa")
"""Drivers without which nobody misses anything as long as no guest plays."""

CARDS: Final = {
    "ac97": "Intel 82801AA AC97 Audio",
    "adlib": "Yamaha YM3812 (OPL2)",
    "cs4231a": "CS4231A",
    "es1370": "ENSONIQ AudioPCI ES1370",
    "gus": "Gravis Ultrasound GF1",
    "hda": "Intel HD Audio",
    "sb16": "Creative Sound Blaster 16",
    "virtio": "Virtio Sound",
}
"""Sound cards that ``-audio`` knows, and what they are."""


def check_audiodev(reader: Reader, text: str) -> None:
    """Check one ``-audiodev``.

    :raises CommandLineError: with QEMU's text, or the driver is not served
    """
    if text in ("help", "?"):
        raise Probe(audio_drivers())
    _check_driver(read_option_value(reader, "Audiodev", text, "driver"))


def check_audio(reader: Reader, text: str) -> None:
    """Check one ``-audio``: an audiodev, and the card that plays on it."""
    parsed = parse_keyval(text, "driver")
    tree: dict[str, Any] = dict(parsed.tree)
    if parsed.wants_help or tree.get("driver") in ("help", "?"):
        raise Probe(audio_drivers())
    tree.setdefault("id", "audiodev0")
    model = tree.pop("model", None)
    if model in ("help", "?"):
        lines = [f"{name:<12}{what}\n" for name, what in CARDS.items()]
        raise Probe("".join(["Valid sound card names (comma separated):\n", *lines]))
    if "driver" not in tree:
        raise GenericError("Parameter 'driver' is missing")
    value = read_tree_value(reader, "Audiodev", tree, keyval=True)
    if model is not None and model not in CARDS:
        raise GenericError(f"Unknown sound card name `{model}'")
    _check_driver(value)
    if model is not None:
        raise CommandLineError("sound cards (-audio model=) are not served by qmpd", location="")


def _check_driver(value: dict[str, Any]) -> None:
    driver = value["driver"]
    if driver not in SILENT:
        raise CommandLineError(f"audio driver '{driver}' is not served by qmpd", location="")
