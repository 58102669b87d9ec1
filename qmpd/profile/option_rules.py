"""Where versions of QEMU differ in what options of the command line take (`qmpd.profile.rules`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from qmpd.profile.rule import Rewording, Rule

_RUN_5_2: Final = "seen on 5.2, not on 7.2"

OPTION_RULES: Final[Sequence[Rule]] = (
    Rule(
        "networks-are-not-located",
        "What is wrong with -netdev, -nic and -net is told without the option",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "networks-are-flat",
        "-netdev takes no JSON",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "networks-are-counted",
        "Networks without a name are __org.qemu.nic0 or __org.qemu.net0, and so on",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "backends-are-types",
        "That a network backend is not there is told as of a value of type",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "nic-help",
        "-nic help lists backends and adapters",
        "seen on 10.0, not on 7.2",
        first=(10, 0),
    ),
    Rule(
        "audio-help",
        "-audiodev help lists drivers",
        "seen on 7.2, not on 5.2",
        first=(6, 0),
    ),
    Rule(
        "tpm-help-succeeds",
        "The program ends well after -tpmdev help",
        "seen on 11.1, not on 10.0",
        first=(11, 1),
    ),
    Rule(
        "sdl-is-parsed-apart",
        "-display sdl has options of its own: alt_grab, ctrl_grab, window_close",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "displays-without-opengl",
        "That a display cannot do OpenGL is told without its name",
        "seen on 5.2 and 7.2, not on 10.0",
        last=(7, 2),
        change=Rewording(
            pattern="^(OpenGL is not supported by) display backend '.*'$",
            words=r"\1 the display",
        ),
    ),
)

OptionName = Literal[
    "audio-help",
    "backends-are-types",
    "networks-are-counted",
    "networks-are-flat",
    "networks-are-not-located",
    "nic-help",
    "sdl-is-parsed-apart",
    "tpm-help-succeeds",
]
"""The names of those that are asked for."""
