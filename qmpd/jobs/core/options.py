"""Options shared by the commands that start block jobs."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from qmpd.jobs.core.states import OnError


class JobOptions(NamedTuple):
    """Options of every command that starts a block job.

    `job_id`: None for the name of the device.  `speed`: bytes per second, 0 for no limit.
    """

    job_id: str | None = None
    speed: int = 0
    filter_node_name: str | None = None
    auto_finalize: bool = True
    auto_dismiss: bool = True

    @classmethod
    def read(cls, arguments: Any) -> Self:
        """Read them from the arguments of a command.

        :param arguments: the command's, as attributes
        """
        return cls(
            arguments.job_id,
            arguments.speed or 0,
            getattr(arguments, "filter_node_name", None),
            arguments.auto_finalize is not False,
            arguments.auto_dismiss is not False,
        )


class MergeOptions(NamedTuple):
    """Options shared by block-commit and block-stream.

    `backing_file`: what is written into the header of the image that gets another backing file,
    None for that file's own name.  `mask_protocol`: whether the format of a protocol node is
    called raw there.
    """

    job: JobOptions
    on_error: OnError = OnError.REPORT
    backing_file: str | None = None
    mask_protocol: bool = False
