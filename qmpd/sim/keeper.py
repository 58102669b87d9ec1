"""What the holder of a machine does with checkpoints, besides going back to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qmpd.sim.holder import Holder

if TYPE_CHECKING:
    from qmpd.sim.state.checkpoint import Checkpoint


class Keeper(Holder, Protocol):
    """Who holds the machine on a bench, and can bring a checkpoint of it elsewhere."""

    def save(self, checkpoint: Checkpoint, filename: str) -> None:
        """Write the machine of a checkpoint to a file, from which it can be made again.

        :param filename: made with mode 0600; a file that is there keeps its mode
        :raises OSError: it cannot be written
        :raises GenericError: there is something in the checkpoint that cannot be told
        """
