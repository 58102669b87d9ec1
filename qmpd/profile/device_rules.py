"""Where versions of QEMU differ in devices and boards (`qmpd.profile.rules`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from qmpd.profile.rule import Rewording, Rule, Touch

_RUN_5_2: Final = "seen on 5.2, not on 7.2"
_RUN_7_2: Final = "seen on 5.2 and 7.2, not on 10.0"
_RUN_11_1: Final = "seen on 11.1, not on 10.0"

DEVICE_RULES: Final[Sequence[Rule]] = (
    Rule(
        "permission-to-access",
        "A property that cannot be read or set is not named",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"^Property '.*' is not (?:readable|writable)$",
            words="Insufficient permission to perform this operation",
        ),
    ),
    Rule(
        "large-option-roms",
        "An option ROM of more than 2 GiB is not found",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r'^romfile "(.*)" too large \(size cannot exceed 2 GiB\)$',
            words=r'failed to find romfile "\1"',
        ),
    ),
    Rule(
        "no-streams-by-default",
        "A nec-usb-xhci has no streams, although the default of the property is on",
        _RUN_7_2,
        last=(7, 2),
    ),
    Rule(
        "expected-models",
        "device_add tells what it expects without an article",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"^Parameter 'driver' expects a (non-abstract|pluggable) device type$",
            words=r"Parameter 'driver' expects \1 device type",
        ),
    ),
    Rule(
        "smbus-controller",
        "The SMBus controller of q35 has a blank in its name",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(pattern="in use by ICH9-SMB,", words="in use by ICH9 SMB,"),
    ),
    Rule(
        "devices-without-id",
        "A device without an id that has a place is told of without an id",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"^PCI: slot (.*) not available for (.*), in use by (.*),id=.*$",
            words=r"PCI: slot \1 not available for \2, in use by \3",
        ),
    ),
    Rule(
        "values-of-enums",
        "A text that is no value of an enum is told without the property",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"Parameter '(?!qom-type')[^']*' does not accept value '(.*)'$",
            words=r"Invalid parameter '\1'",
        ),
    ),
    Rule(
        "sizes-name-the-id",
        "A size that is too large is told with the id of the device, not with its model",
        _RUN_5_2,
        last=(5, 2),
        touches=(Touch("device_add", answer="doesn't take value .* \\(maximum:"),),
    ),
    Rule(
        "options-are-single-texts",
        "Options of devices are read as values of -global are",
        _RUN_5_2,
        last=(5, 2),
        touches=(Touch("device_add", answer=" expects (integer|size|uint64|int64|a non-neg)"),),
    ),
    Rule(
        "ids-come-first",
        "Whether the id of a device is taken is looked at first",
        _RUN_5_2,
        last=(5, 2),
        touches=(Touch("device_add", answer="^Duplicate "),),
    ),
    Rule(
        "block-sizes-are-checked-twice",
        "Whether a block size is too small or too large is told apart from a power of 2",
        _RUN_7_2,
        last=(7, 2),
        touches=(Touch("device_add", answer="must be a power of 2|not a power of 2|minimum: 512"),),
    ),
    Rule(
        "boards-are-flat",
        "Clock, DMA and IDE controllers are devices of the board, not parts of its bridge",
        _RUN_7_2,
        last=(7, 2),
    ),
    Rule(
        "cards-by-default",
        "A machine has a drive for memory cards by default, sd0, which nothing uses",
        _RUN_7_2,
        last=(7, 2),
    ),
    Rule(
        "dma-comes-late",
        "DMA controllers come after the speaker",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "function-0-where-asked-for",
        "Only a device that is told its address is refused where function 0 is taken",
        _RUN_7_2,
        last=(7, 2),
        touches=(Touch("device_add", answer="^PCI: slot .* already occupied by"),),
    ),
    Rule(
        "drives-of-devices-stay",
        "The drive of a device cannot be changed",
        _RUN_5_2,
        last=(5, 2),
        touches=(Touch("qom-set.property", "^drive$"),),
    ),
    Rule(
        "unplug-again",
        "device_del may be said again of a device that ACPI unplugs",
        _RUN_5_2,
        last=(5, 2),
        touches=(Touch("device_del", answer="already in the process of unplug$"),),
    ),
    Rule(
        "ports-unplug",
        "PCI Express ports unplug their devices by themselves, not ACPI",
        "seen on 5.2, not on 7.2; ChangeLog/6.1: ACPI hotplug for q35",
        last=(5, 2),
    ),
    Rule(
        "usb-disks-have-block-sizes",
        "A usb-storage has the block sizes of its disk",
        _RUN_7_2,
        last=(7, 2),
    ),
    Rule(
        "usb-disks-take-little-over",
        "The disk of a usb-storage has sizes and caching of its own",
        _RUN_7_2,
        last=(7, 2),
    ),
    Rule(
        "nvme-granularity-is-left",
        "The granularity of discards of an nvme is what it was told",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "nvme-controllers-bring-subsystems",
        "An nvme makes a subsystem, which stays when it goes",
        "seen on 10.0, not on 7.2",
        first=(10, 0),
    ),
    Rule(
        "balloons-tell-of-reclaims",
        "Statistics of a balloon have kills, stalls, scans and reclaims",
        "seen on 10.0, not on 5.2 and 7.2",
        first=(9, 1),
    ),
    Rule(
        "models-are-checked-before-buses",
        "device_add asks whether a model may be plugged in before it looks for a bus",
        _RUN_7_2,
        last=(7, 2),
        touches=(Touch("device_add", answer="pluggable device type"),),
    ),
    Rule(
        "full-buses-are-told",
        "A device that finds only full buses is told so",
        _RUN_11_1,
        first=(11, 0),
        touches=(Touch("device_add", answer="^No '.*' bus found|bus was found but is full"),),
    ),
    Rule(
        "device-ids-are-checked",
        "The id of a device must be an identifier, also where it is no option",
        _RUN_11_1,
        first=(11, 0),
        touches=(Touch("device_add.id", "^(?![A-Za-z][A-Za-z0-9._-]*$)"),),
    ),
    Rule(
        "xhci-tells-its-end",
        "DEVICE_DELETED comes of xHCI controllers, and of their core",
        _RUN_11_1,
        first=(11, 0),
    ),
    Rule(
        "help-shows-json",
        "Help of devices shows values as JSON: false for off, texts in quotes",
        _RUN_7_2,
        last=(7, 2),
    ),
)

DeviceName = Literal[
    "balloons-tell-of-reclaims",
    "block-sizes-are-checked-twice",
    "boards-are-flat",
    "cards-by-default",
    "device-ids-are-checked",
    "dma-comes-late",
    "drives-of-devices-stay",
    "full-buses-are-told",
    "function-0-where-asked-for",
    "help-shows-json",
    "ids-come-first",
    "models-are-checked-before-buses",
    "no-streams-by-default",
    "nvme-controllers-bring-subsystems",
    "nvme-granularity-is-left",
    "options-are-single-texts",
    "ports-unplug",
    "sizes-name-the-id",
    "unplug-again",
    "usb-disks-have-block-sizes",
    "usb-disks-take-little-over",
    "xhci-tells-its-end",
]
"""The names of those that are asked for."""
