"""The command of schema module introspect."""

from __future__ import annotations

from qmpd.commands.registry import CommandTable, Context

INTROSPECT = CommandTable()
