"""Python names for what a schema names."""

from __future__ import annotations

import keyword
import re

_STUB_NAMES = ("bool", "float", "int", "list", "str")
"""Names that annotations in the same class body need."""

_MODEL_NAMES = ("construct", "copy", "dict", "json", "plain", "schema", "validate")
"""Attributes of models that a member would hide."""


def camel_case(name: str) -> str:
    """``block-stream`` and ``BLOCK_STREAM`` become ``BlockStream``."""
    if name.isupper():
        name = name.lower()
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[-_.]+", name))


def attribute_name(member: str) -> str:
    """The attribute for a member: ``node-name`` becomes ``node_name``, ``class`` ``class_``."""
    name = re.sub(r"\W", "_", member).lstrip("_")
    if keyword.iskeyword(name) or name in _STUB_NAMES + _MODEL_NAMES or name.startswith("model_"):
        name += "_"
    return name


def class_name(type_name: str) -> str:
    """The class for a defined type: its own name, with downstream punctuation replaced."""
    return re.sub(r"\W", "_", type_name).lstrip("_")


def module_name(module: str) -> str:
    """The Python module for a schema module: ``block-core`` becomes ``block_core``."""
    name = re.sub(r"\W", "_", module)
    return name + "_" if keyword.iskeyword(name) else name
