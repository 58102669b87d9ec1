"""HMP commands for the QOM tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qmpd.monitor.hmp.command_table import Arguments, HmpCommand
from qmpd.monitor.hmp.line import Kind, Parameter
from qmpd.wire.encode import dumps

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine


async def qom_list(machine: Machine, arguments: Arguments) -> str:
    """List what is at a path; without one, what the root is called."""
    from qmpd.machine import qom_tree

    if "path" not in arguments:
        return "/\n"
    listed = qom_tree.qom_list(machine, arguments["path"])
    return "".join(f"{entry['name']} ({entry['type']})\n" for entry in listed)


async def qom_get(machine: Machine, arguments: Arguments) -> str:
    """Show a property as JSON."""
    from qmpd.machine import qom_tree

    value = qom_tree.qom_get(machine, arguments["path"], arguments["property"])
    return f"{dumps(value, pretty=True).decode()}\n"


QOM: Final = (
    HmpCommand(
        "qom-list",
        qom_list,
        (Parameter("path", Kind.STRING, optional=True),),
        "path",
        "list the properties of an object or device",
    ),
    HmpCommand(
        "qom-get",
        qom_get,
        (Parameter("path", Kind.STRING), Parameter("property", Kind.STRING)),
        "path property",
        "show a property of an object or device",
    ),
)
"""The commands."""
