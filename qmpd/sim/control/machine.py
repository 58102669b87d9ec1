"""Commands of schema module sim-machine: the machine ends, and begins anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.sim.control.context import Context, Handlers
from qmpd.sim.images import images_in_memory, remove_image

if TYPE_CHECKING:
    from qmpd.profile.control.models.sim_machine import (
        XSimCheckpointRemoveArguments,
        XSimCheckpointSaveArguments,
        XSimForkArguments,
        XSimImageRemoveArguments,
        XSimPowerLossArguments,
        XSimRestoreArguments,
    )
    from qmpd.sim.keeper import Fork
    from qmpd.sim.state.checkpoint import Checkpoint


async def reset(context: Context, _: None) -> None:
    """Make the machine as it was at the very beginning."""
    if context.bench.program is not None:
        context.bench.program.run_again(keeps_images=False)
    else:
        await context.bench.reset()


def crash(context: Context, _: None) -> None:
    """End the machine as ``kill -9`` does."""
    if context.bench.program is not None:
        context.bench.program.kill()
    else:
        context.bench.kill()


async def restart(context: Context, _: None) -> None:
    """End the machine, and start one of the same kind on the same images."""
    if context.bench.program is not None:
        context.bench.program.run_again(keeps_images=True)
    else:
        await context.bench.restart()


def power_loss(context: Context, arguments: XSimPowerLossArguments) -> None:
    """End the machine, and lose the power of its disks."""
    keep: Any = "random" if arguments.keep is None else arguments.keep
    context.bench.power_loss(keep, arguments.seed or 0)


def _info(name: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """SimCheckpoint."""
    return {"id": name, "time": checkpoint.time}


def _find(context: Context, name: str) -> Checkpoint:
    if name not in context.checkpoints:
        known = ", ".join(context.checkpoints) or "none"
        raise LookupError(f"there is no checkpoint '{name}' (checkpoints: {known})")
    return context.checkpoints[name]


def checkpoint(context: Context, _: None) -> dict[str, Any]:
    """Keep the machine as it is now."""
    made = context.bench.checkpoint()
    number = 0
    while (name := f"checkpoint{number}") in context.checkpoints:
        number += 1
    context.checkpoints[name] = made
    return _info(name, made)


def restore(context: Context, arguments: XSimRestoreArguments) -> None:
    """Go back to a checkpoint."""
    context.bench.restore(_find(context, arguments.id))


def query_checkpoints(context: Context, _: None) -> list[dict[str, Any]]:
    """The checkpoints."""
    return [_info(name, made) for name, made in context.checkpoints.items()]


def checkpoint_remove(context: Context, arguments: XSimCheckpointRemoveArguments) -> None:
    """Forget a checkpoint."""
    _find(context, arguments.id)
    del context.checkpoints[arguments.id]


def checkpoint_save(context: Context, arguments: XSimCheckpointSaveArguments) -> None:
    """Write a checkpoint to a file."""
    found = _find(context, arguments.id)
    try:
        context.bench.holder.save(found, arguments.filename)
    except OSError as error:
        reason = error.strerror or str(error)
        raise GenericError(f"Could not write '{arguments.filename}': {reason}") from None


def _fork_info(made: Fork) -> dict[str, Any]:
    """SimFork."""
    return {name: value for name, value in made._asdict().items() if value is not None}


def fork(context: Context, arguments: XSimForkArguments) -> dict[str, Any]:
    """Serve another machine, which goes on from a checkpoint."""
    checkpoint = _find(context, arguments.id)
    return _fork_info(context.bench.forks.make(checkpoint, arguments.qmp, arguments.control))


def query_forks(context: Context, _: None) -> list[dict[str, Any]]:
    """The forks of the process."""
    return [_fork_info(made) for made in context.bench.forks.there_are()]


def query_images(context: Context, _: None) -> list[dict[str, Any]]:
    """The images in memory."""
    return [
        {"filename": name, "size": image.size, "allocated": image.allocated}
        | {"in-use": image.in_use}
        for name, image in images_in_memory(context.bench.machine).items()
    ]


def image_remove(context: Context, arguments: XSimImageRemoveArguments) -> None:
    """Remove an image from memory."""
    remove_image(context.bench.machine, arguments.filename)


HANDLERS: Final[Handlers] = {
    "x-sim-reset": reset,
    "x-sim-crash": crash,
    "x-sim-restart": restart,
    "x-sim-power-loss": power_loss,
    "x-sim-checkpoint": checkpoint,
    "x-sim-restore": restore,
    "x-sim-query-checkpoints": query_checkpoints,
    "x-sim-checkpoint-remove": checkpoint_remove,
    "x-sim-checkpoint-save": checkpoint_save,
    "x-sim-fork": fork,
    "x-sim-query-forks": query_forks,
    "x-sim-query-images": query_images,
    "x-sim-image-remove": image_remove,
}
