"""``-machine memory.X=`` and ``-machine boot.X=``: what ``-m`` and ``-boot`` say as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from qmpd.base.scalars import parse_size, parse_uint64
from qmpd.cli.report import CommandLineError

if TYPE_CHECKING:
    from qmpd.options.keyval import Tree

_OPTIONS: Final = {"memory": "m", "boot": "boot"}
_MEMORY: Final = {
    "size": ("size", parse_size, "size"),
    "max-size": ("maxmem", parse_size, "size"),
    "slots": ("slots", parse_uint64, "integer"),
}
"""Members of MemorySizeConfiguration: their names in ``-m``, and what they have to be."""


def as_options(parts: Mapping[str, Tree]) -> Iterator[tuple[str, str]]:
    """The options that say the same, and their values.

    :raises CommandLineError: with QEMU's text
    """
    for part, tree in parts.items():
        words = []
        if part == "memory":
            _check_memory(tree)
        for name, value in tree.items():
            own = _MEMORY[name][0] if part == "memory" else name
            doubled = str(value).replace(",", ",,")
            if part == "memory" and own != "slots" and doubled.isdecimal():
                doubled += "B"
            words.append(f"{own}={doubled}")
        yield _OPTIONS[part], ",".join(words)


def _check_memory(tree: Tree) -> None:
    for name, (_, parse, kind) in _MEMORY.items():
        if name in tree:
            try:
                parse(str(tree[name]))
            except ValueError:
                text = f"Parameter 'memory.{name}' expects {kind}"
                raise CommandLineError(text, location="") from None
    for name in tree:
        if name not in _MEMORY:
            raise CommandLineError(f"Parameter 'memory.{name}' is unexpected", location="")
