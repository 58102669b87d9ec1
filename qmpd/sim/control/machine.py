"""Commands of schema module sim-machine: the machine ends, and begins anew."""

from __future__ import annotations

from typing import Final

from qmpd.sim.control.context import Context, Handlers


async def reset(context: Context, _: None) -> None:
    """Make the machine as it was at the very beginning."""
    await context.bench.reset()


def crash(context: Context, _: None) -> None:
    """End the machine as ``kill -9`` does."""
    # without one nobody could start it again
    assert context.bench.holder
    context.bench.kill()


async def restart(context: Context, _: None) -> None:
    """End the machine, and start one of the same kind on the same images."""
    # without one it would be the end
    assert context.bench.holder
    await context.bench.restart()


HANDLERS: Final[Handlers] = {
    "x-sim-reset": reset,
    "x-sim-crash": crash,
    "x-sim-restart": restart,
}
