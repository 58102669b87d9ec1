"""Where versions of QEMU differ in what they say of requests (`qmpd.profile.rules`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from qmpd.profile.rule import Rewording, Rule, Touch, line

_RUN_5_2: Final = "seen on 5.2, not on 7.2"
_RUN_7_2: Final = "seen on 5.2 and 7.2, not on 10.0"

REQUEST_RULES: Final[Sequence[Rule]] = (
    Rule(
        "device-options-are-texts",
        "device_add takes any number, boolean or text for the text that an option would be",
        _RUN_7_2,
        last=(7, 2),
        # what is another type's than its text looks like
        touches=(Touch("device_add.*", r"^(-?[0-9.].*|true|false|on|off|yes|no|y|n)$"),),
    ),
    Rule(
        "numbers-without-exponents",
        "Numbers that become texts are written without exponents, with six decimals at most",
        _RUN_5_2,
        last=(5, 2),
        touches=(Touch("device_add.*", r"^-?[0-9]+(\.|e)"),),
    ),
    Rule(
        "streams-begin-with-the-device",
        "block-stream looks for the device before it looks whether the rest goes together",
        _RUN_5_2,
        last=(5, 2),
        touches=(Touch("block-stream", answer="at the same time"),),
    ),
    Rule(
        "dirty-rates-are-measured-in-seconds",
        "The time that calc-dirty-rate takes is a number of seconds",
        _RUN_7_2,
        last=(7, 2),
        touches=(Touch("calc-dirty-rate", answer="out of range"),),
    ),
    Rule(
        "no-hotpluggable-processors",
        "query-hotpluggable-cpus is told as a feature, where the machine has none",
        _RUN_7_2,
        last=(7, 2),
        change=Rewording(
            pattern=r"^machine does not support hot-plugging CPUs$",
            words="The feature 'query-hotpluggable-cpus' is not enabled",
        ),
    ),
    Rule(
        "no-nmi",
        "A machine that cannot be sent an NMI does not support it, rather than provide none",
        _RUN_7_2,
        last=(7, 2),
        change=Rewording(
            pattern=r"^machine does not provide NMIs$",
            words="this feature or command is not currently supported",
        ),
    ),
    Rule(
        "containers-come-late",
        "There is no /backend, and /objects is there when the first object has been made",
        _RUN_7_2,
        last=(7, 2),
        touches=(Touch("qom-list.path", "^/?$"), line("qom-list( /)?")),
    ),
    Rule(
        "audiodevs-have-a-container",
        "There is a container for audiodevs",
        "seen on 11.1, not on 10.0",
        first=(11, 1),
        touches=(Touch("qom-list.path", "^/?$"), line("qom-list( /)?")),
    ),
    Rule(
        "iothreads-grow-by-themselves",
        "Iothreads take 2, 2 and 3 for poll-grow, poll-shrink and poll-weight where these are 0",
        "seen on 11.1, not on 10.0",
        first=(11, 0),
        touches=("query-iothreads", line("info iothreads")),
    ),
    Rule(
        "tables-that-cannot-be-opened",
        "-acpitable tells of a file that it cannot open as others do",
        "seen on 11.1, not on 10.0",
        first=(11, 1),
        change=Rewording(
            pattern=r"\bcan't open file (.*): ([^:]*)$", words=r"Could not open '\1': \2"
        ),
    ),
    Rule(
        "values-without-an-article",
        "What is wrong with a quorum's vote-threshold is told without an article",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"^Parameter '([^']*)' expects a value >= (\d+)$",
            words=r"Parameter '\1' expects value >= \2",
        ),
    ),
)

RequestName = Literal[
    "audiodevs-have-a-container",
    "containers-come-late",
    "device-options-are-texts",
    "iothreads-grow-by-themselves",
    "dirty-rates-are-measured-in-seconds",
    "numbers-without-exponents",
    "streams-begin-with-the-device",
]
"""The names of those that are asked for."""
