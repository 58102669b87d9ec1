"""The arguments that every command that starts a block job has."""

from __future__ import annotations

from typing import Any

from qmpd.jobs.options import JobOptions


def job_options(arguments: Any) -> JobOptions:
    """Read them.

    :param arguments: the command's arguments, as attributes
    """
    return JobOptions(
        arguments.job_id,
        arguments.speed or 0,
        getattr(arguments, "filter_node_name", None),
        arguments.auto_finalize is not False,
        arguments.auto_dismiss is not False,
    )
