"""Keyboards and pointing devices: who gets what is typed and pointed at (ui/input.c)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.machine.devices.device import Device

KEYS: Final = frozenset(("key",))
RELATIVE: Final = frozenset(("btn", "rel"))
ABSOLUTE: Final = frozenset(("btn", "abs"))
"""Kinds of input (InputEventKind) that devices take."""

PS2: Final = (("QEMU PS/2 Keyboard", KEYS), ("QEMU PS/2 Mouse", RELATIVE))
"""What a PC has from the start."""

MODELS: Final = {
    "usb-kbd": ("QEMU HID Keyboard", KEYS),
    "usb-mouse": ("QEMU HID Mouse", RELATIVE),
    "usb-tablet": ("QEMU HID Tablet", ABSOLUTE),
}
"""Models of devices that take input, what QEMU calls them there, and what they take."""


@dataclass(frozen=True, slots=True)
class InputHandler:
    """One device that takes input.

    :param index: its number: handlers are counted, the gone ones too
    :param takes: the kinds of input that it takes
    :param device: None where the board has it
    """

    index: int
    name: str
    takes: frozenset[str]
    device: Device | None


class Inputs:
    """The devices that take input, those first that get it first.

    :param has_ps2: whether the board has a keyboard and a mouse
    """

    def __init__(self, *, has_ps2: bool) -> None:
        self._made = 0
        self._handlers: list[InputHandler] = []
        for name, takes in PS2 if has_ps2 else ():
            self._add(name, takes, None)

    def _add(self, name: str, takes: frozenset[str], device: Device | None) -> None:
        self._made += 1
        self._handlers.append(InputHandler(self._made, name, takes, device))

    def plugged(self, device: Device) -> None:
        """Take notice of a device, if it is one of `MODELS`."""
        if device.model in MODELS:
            self._add(*MODELS[device.model], device)

    def unplugged(self, device: Device) -> None:
        """Forget a device."""
        self._handlers = [each for each in self._handlers if each.device is not device]

    def take(self, kind: str) -> bool:
        """Whether there is a device for this kind of input."""
        return any(kind in each.takes for each in self._handlers)

    def mice(self) -> list[dict[str, Any]]:
        """MouseInfo of the pointing devices, the one that is in use last."""
        found = [each for each in self._handlers if each.takes & {"rel", "abs"}]
        return [
            {
                "name": each.name,
                "index": each.index,
                "current": each is found[0],
                "absolute": "abs" in each.takes,
            }
            for each in reversed(found)
        ]

    def choose(self, index: int) -> None:
        """Use another pointing device (``hmp_mouse_set``).

        :raises GenericError: there is none of that number
        """
        for each in self._handlers:
            if each.index == index:
                if not each.takes & {"rel", "abs"}:
                    raise GenericError(f"Input device '{each.name}' is not a mouse")
                self._handlers.remove(each)
                self._handlers.insert(0, each)
                return
        raise GenericError(f"Mouse at index '{index}' not found")
