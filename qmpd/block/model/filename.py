"""How QEMU shows where a node's data is: a plain file name, or ``json:`` and its options."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from qmpd.base.qdict import QDict, member_order, to_json
from qmpd.block.model.node import Node

MAXIMUM_LENGTH: Final = 4095
"""Longest name that is shown whole, bytes."""

Names = dict[Node, str]
"""File names worked out already, for queries that need those of many nodes."""


def filename(node: Node, names: Names | None = None) -> str:
    """The file name of `node`, as in queries and messages.

    :param names: names known already; what is found is added
    """
    names = {} if names is None else names
    known = names.get(node)
    if known is not None:
        return known
    if not node.children:
        return _found(node, names)
    chain = []
    below: Node | None = node
    while below is not None and below not in names:
        chain.append(below)
        below = below.backing
    # From the bottom: whether a backing file is what the image names depends on its name.
    for current in reversed(chain):
        _found(current, names)
    return names[node]


def _found(node: Node, names: Names) -> str:
    """The file name of `node`, when those of its backing chain are known; kept in `names`."""
    exact = exact_filename(node, names)
    name = names[node] = _json_name(node, names) if exact is None else exact
    return name


def _json_name(node: Node, names: Names) -> str:
    name = f"json:{to_json(full_options(node, names))}"
    return name if len(name) <= MAXIMUM_LENGTH else f"{name[: MAXIMUM_LENGTH - 3]}..."


def exact_filename(node: Node, names: Names | None = None) -> str | None:
    """A file name that alone would open the same data; None where options are needed."""
    driver = node.driver
    if node.implicit and node.primary is not None:
        # What a job has put there by itself is called as what it filters.
        return exact_filename(node.primary, names)
    own = driver.exact_filename()
    if own is not None or driver.shape.is_protocol:
        return own
    below = node.primary
    if below is None or driver.shape.is_filter:
        return None
    if not below.driver.shape.is_protocol and not below.driver.shape.has_protocol_name:
        return None
    if not node.options.keys().isdisjoint(driver.shape.strong_options):
        return None
    if backing_overridden(node, names):
        return None
    return below.driver.exact_filename()


def full_options(node: Node, names: Names | None = None) -> dict[str, Any]:
    """All options that matter to the data, children included."""
    driver = node.driver
    if node.implicit and node.primary is not None:
        return full_options(node.primary, names)
    options: dict[str, Any] = {"driver": driver.format_name}
    for name in driver.shape.strong_options:
        if name in node.options:
            flat = flat_options(name, node.options.shown(name))
            options |= {key: flat[key] for key in _kept_order(node, flat)}
    overridden = backing_overridden(node, names)
    if driver.shape.lists_children:
        children = [full_options(child, names) for child in driver.listed_children()]
        return options | {"children": children}
    for name, edge in node.children.items():
        if name != "backing" or overridden or driver.shape.filtered_child_is_backing:
            options[name] = full_options(edge.node, names)
    if overridden and node.backing is None:
        options["backing"] = None
    return options


def _kept_order(node: Node, names: Collection[str]) -> list[str]:
    """Options in the order in which QEMU finds them in a node's.

    The members of an inline child's options have been in the tables of all nodes above it, each
    time under another name, and were copied from one to the next.
    """
    if len(names) == 1:
        return [*names]
    path: list[str] = []
    child, parent = node, node.inherits_from
    while parent is not None:
        place = next((n for n, edge in parent.children.items() if edge.node is child), None)
        if place is None:
            break
        path.insert(0, f"{place}.")
        child, parent = parent, parent.inherits_from
    order = member_order("".join(path) + name for name in names)
    for prefix in path:
        order = member_order(name.removeprefix(prefix) for name in member_order(order))
    return member_order(order) if node.options.reopened else order


def backing_overridden(node: Node, names: Names | None = None) -> bool:
    """Whether the backing node is another than the one the image itself names."""
    if not node.driver.capabilities.backing:
        return False
    named: str = node.driver.auto_backing_file
    backing = node.backing
    if backing is None:
        return named != ""
    known = None if names is None else names.get(backing)
    return named != (filename(backing, names) if known is None else known)


def flat_options(name: str, value: Any) -> dict[str, Any]:
    """An option as QEMU keeps it: members of objects and lists under dotted names."""
    if isinstance(value, dict):
        return {
            k: v
            for sub, item in QDict(value).items()
            for k, v in flat_options(f"{name}.{sub}", item).items()
        }
    if isinstance(value, list):
        return {
            k: v
            for number, item in enumerate(value)
            for k, v in flat_options(f"{name}.{number}", item).items()
        }
    return {name: value}
