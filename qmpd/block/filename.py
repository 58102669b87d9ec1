"""How QEMU shows where a node's data is: a plain file name, or ``json:`` and its options."""

from __future__ import annotations

from typing import Any

from qmpd.block.node import Node
from qmpd.qdict import to_json


def filename(node: Node) -> str:
    """The file name of `node`, as in queries and messages."""
    exact = exact_filename(node)
    return f"json:{to_json(full_options(node))}" if exact is None else exact


def exact_filename(node: Node) -> str | None:
    """A file name that alone would open the same data; None where options are needed."""
    if node.driver.is_protocol:
        return node.driver.exact_filename()
    if _has_strong_options(node) or _backing_overridden(node) or node.file is None:
        return None
    return exact_filename(node.file)


def full_options(node: Node) -> dict[str, Any]:
    """All options that matter to the data, children included."""
    options: dict[str, Any] = {}
    for name, edge in node.children.items():
        if name != "backing" or _backing_overridden(node):
            options[name] = full_options(edge.node)
    if node.driver.supports_backing and node.backing is None and _backing_overridden(node):
        options["backing"] = None
    for name in node.driver.strong_options:
        if name in node.options:
            options[name] = node.options[name]
    options["driver"] = node.driver.format_name
    return options


def _has_strong_options(node: Node) -> bool:
    return any(name in node.options for name in node.driver.strong_options if name != "filename")


def _backing_overridden(node: Node) -> bool:
    auto = getattr(node.driver, "auto_backing_file", None)
    if not node.driver.supports_backing:
        return False
    if node.backing is None:
        return bool(auto)
    return bool(auto != exact_filename(node.backing))
