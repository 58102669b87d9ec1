"""The arguments of commands, as programs write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def command_arguments(
    args_dict: Mapping[str, Any] | None, args: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The arguments of a command, from a dictionary or from keywords.

    :raises TypeError: both are given
    """
    if args_dict is None:
        return {name.replace("_", "-"): value for name, value in args.items()}
    if args:
        raise TypeError("give arguments in a dictionary or by keyword, not both")
    return args_dict
