"""``-numa``: what is wrong is told as QEMU tells it; NUMA nodes are not served."""

from __future__ import annotations

from typing import Final

from qmpd.cli.report import CommandLineError
from qmpd.cli.system.given import Given
from qmpd.options.qemu_opts import OptionGroup

_GROUP: Final = OptionGroup("numa", "type", None)


def check_numa(text: str, given: Given) -> None:
    """Check one ``-numa``; what it does to the machine is told by `refuse_numa`.

    :raises CommandLineError: with QEMU's text
    """
    opts = given.parse(_GROUP, text)
    values = [("type", text)] if opts.wants_help else list(opts)
    given.profile.reader.read_flat("NumaOptions", values)


def refuse_numa(location: str, *, has_hardware: bool) -> None:
    """A machine with NUMA nodes is not there.

    :raises CommandLineError: always
    """
    if has_hardware:
        raise CommandLineError("NUMA nodes (-numa) are not served by qmpd", location=location)
    raise CommandLineError("NUMA is not supported by this machine-type", location=location)
