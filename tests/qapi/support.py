"""Schemas in strings."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from qmpd.qapi.compiler.entities import Schema
from qmpd.qapi.compiler.schema import compile_schema
from qmpd.qapi.compiler.source import QapiError


def write(directory: Path, files: dict[str, str]) -> None:
    """Put `files` (name -> text) into `directory`."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")


def compiled(directory: Path, text: str, **files: str) -> Schema:
    """The schema `text`, with further files ``name="text"`` (``name.json``)."""
    write(directory, {"main.json": text, **{f"{k}.json": v for k, v in files.items()}})
    return compile_schema(directory / "main.json")


def fault(directory: Path, text: str, **files: str) -> str:
    """The error of the schema `text`, file names without directory."""
    with pytest.raises(QapiError) as caught:
        compiled(directory, text, **files)
    return str(caught.value).replace(f"{directory}/", "")
