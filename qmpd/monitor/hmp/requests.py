"""HMP commands that run a QMP command, and its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.monitor.hmp.command_table import Arguments, HmpCommand
from qmpd.monitor.hmp.line import Kind, Parameter

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine

_DEVICE: Final = Parameter("device", Kind.BLOCK_DEVICE)
_TARGET: Final = Parameter("target", Kind.STRING)
_FORMAT: Final = Parameter("format", Kind.STRING, optional=True)
_FORCE: Final = Parameter("force", Kind.FLAG, flag="f")
_REUSE: Final = Parameter("reuse", Kind.FLAG, flag="n")
_FULL: Final = Parameter("full", Kind.FLAG, flag="f")
_LIMITS: Final = ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")
_READ_ONLY_MODES: Final = ("retain", "read-only", "read-write")

Asked = dict[str, Any]


def _given(arguments: Arguments, *names: str) -> Asked:
    return {name: arguments[name] for name in names if name in arguments}


def _mode(arguments: Arguments) -> Asked:
    return {"mode": "existing" if "reuse" in arguments else "absolute-paths"}


def _drive_job(arguments: Arguments) -> Asked:
    return {
        **_given(arguments, "device", "target", "format"),
        **_mode(arguments),
        "sync": "full" if "full" in arguments else "top",
    }


def _block_set_io_throttle(machine: Machine, arguments: Arguments) -> Asked:
    device = arguments["device"]
    key = "device" if device in machine.graph.backends else "id"
    return {key: device, **_given(arguments, *_LIMITS)}


def _change(_: Machine, arguments: Arguments) -> Asked:
    mode = arguments.get("read-only-mode")
    force = {"force": True} if "force" in arguments else {}
    if mode is not None and mode not in _READ_ONLY_MODES:
        raise GenericError(f"invalid parameter value: {mode}")
    return {
        **_given(arguments, "device", "format", "read-only-mode"),
        "filename": arguments["target"],
        **force,
    }


def _snapshot_blkdev(_: Machine, arguments: Arguments) -> Asked:
    if "snapshot-file" not in arguments:
        raise GenericError("Parameter 'snapshot-file' is missing")
    return _given(arguments, "device", "snapshot-file", "format") | _mode(arguments)


def _block_stream(_: Machine, arguments: Arguments) -> Asked:
    device = arguments["device"]
    asked = {"device": device, "job-id": device, "on-error": "report"}
    return asked | _given(arguments, "base", "speed")


def _forced(_: Machine, arguments: Arguments) -> Asked:
    return {"device": arguments["device"], "force": "force" in arguments}


def _all(_: Machine, arguments: Arguments) -> Asked:
    return dict(arguments)


def _request(
    name: str,
    command: str,
    asked: Callable[[Machine, Arguments], Asked],
    parameters: tuple[Parameter, ...],
    usage: str,
    summary: str,
) -> HmpCommand:
    def request(machine: Machine, arguments: Arguments) -> tuple[str, Asked]:
        return command, asked(machine, arguments)

    return HmpCommand(name, None, parameters, usage, summary, request)


REQUESTS: Final = (
    _request(
        "block_set_io_throttle",
        "block_set_io_throttle",
        _block_set_io_throttle,
        (_DEVICE, *(Parameter(name, Kind.INTEGER) for name in _LIMITS)),
        "device bps bps_rd bps_wr iops iops_rd iops_wr",
        "limit the I/O of a drive",
    ),
    _request(
        "eject", "eject", _forced, (_FORCE, _DEVICE), "[-f] device", "take out a removable medium"
    ),
    _request(
        "change",
        "blockdev-change-medium",
        _change,
        (
            _DEVICE,
            Parameter("force", Kind.FLAG, flag="f", rule="change-with-force"),
            Parameter("target", Kind.FILENAME),
            _FORMAT,
            Parameter("read-only-mode", Kind.STRING, optional=True),
        ),
        "device [-f] filename [format [read-only-mode]]",
        "put in another removable medium",
    ),
    _request(
        "block_stream",
        "block-stream",
        _block_stream,
        (
            _DEVICE,
            Parameter("speed", Kind.SIZE, optional=True),
            Parameter("base", Kind.STRING, optional=True),
        ),
        "device [speed [base]]",
        "copy what lies below an image into it",
    ),
    _request(
        "block_job_set_speed",
        "block-job-set-speed",
        _all,
        (_DEVICE, Parameter("speed", Kind.SIZE)),
        "device speed",
        "limit the speed of a block job",
    ),
    _request(
        "block_job_cancel",
        "block-job-cancel",
        _forced,
        (_FORCE, _DEVICE),
        "[-f] device",
        "cancel a block job",
    ),
    _request(
        "snapshot_blkdev",
        "blockdev-snapshot-sync",
        _snapshot_blkdev,
        (_REUSE, _DEVICE, Parameter("snapshot-file", Kind.STRING, optional=True), _FORMAT),
        "[-n] device [new-image-file] [format]",
        "go on in a new image over the present one",
    ),
    _request(
        "snapshot_blkdev_internal",
        "blockdev-snapshot-internal-sync",
        _all,
        (_DEVICE, Parameter("name", Kind.STRING)),
        "device name",
        "make a snapshot inside an image",
    ),
    _request(
        "snapshot_delete_blkdev_internal",
        "blockdev-snapshot-delete-internal-sync",
        _all,
        (_DEVICE, Parameter("name", Kind.STRING), Parameter("id", Kind.STRING, optional=True)),
        "device name [id]",
        "delete a snapshot inside an image",
    ),
    _request(
        "drive_mirror",
        "drive-mirror",
        lambda _, arguments: _drive_job(arguments) | {"unmap": True},
        (_REUSE, _FULL, _DEVICE, _TARGET, _FORMAT),
        "[-n] [-f] device target [format]",
        "mirror a device to an image",
    ),
    _request(
        "drive_backup",
        "drive-backup",
        lambda _, arguments: _drive_job(arguments) | {"compress": "compress" in arguments},
        (_REUSE, _FULL, Parameter("compress", Kind.FLAG, flag="c"), _DEVICE, _TARGET, _FORMAT),
        "[-n] [-f] [-c] device target [format]",
        "back a device up to an image",
    ),
    _request(
        "getfd",
        "getfd",
        _all,
        (Parameter("fdname", Kind.STRING),),
        "name",
        "keep the descriptor that came with this line, under a name",
    ),
    _request(
        "closefd",
        "closefd",
        _all,
        (Parameter("fdname", Kind.STRING),),
        "name",
        "close a descriptor that getfd has named",
    ),
    _request(
        "device_del",
        "device_del",
        _all,
        (Parameter("id", Kind.STRING),),
        "device",
        "unplug a device",
    ),
)
"""The commands, each with the QMP command that it runs."""
